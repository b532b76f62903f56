package ingress

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/vaultproof/vaultproof/pkg/issuer"
	"github.com/vaultproof/vaultproof/pkg/kube"
)

// api answers what Traefik asks of a Kubernetes API, and notes it.
type api struct {
	objects kube.Objects

	mu    sync.Mutex
	asked []string
}

// served are the only lists that Traefik has a right to: the group's version and the kind.
var served = map[string][2]string{
	"/apis/networking.k8s.io/v1/ingressclasses":                   {"networking.k8s.io/v1", "IngressClass"},
	"/apis/networking.k8s.io/v1/namespaces/ingress/ingresses":     {"networking.k8s.io/v1", "Ingress"},
	"/api/v1/namespaces/ingress/services":                         {"v1", "Service"},
	"/api/v1/namespaces/ingress/secrets":                          {"v1", "Secret"},
	"/apis/discovery.k8s.io/v1/namespaces/ingress/endpointslices": {"discovery.k8s.io/v1", "EndpointSlice"},

	"/api/v1/namespaces":                                                                 {"v1", "Namespace"},
	"/api/v1/namespaces/ingress/configmaps":                                              {"v1", "ConfigMap"},
	"/apis/gateway.networking.k8s.io/v1/gatewayclasses":                                  {gatewayGroup + "/v1", "GatewayClass"},
	"/apis/gateway.networking.k8s.io/v1/namespaces/ingress/gateways":                     {gatewayGroup + "/v1", "Gateway"},
	"/apis/gateway.networking.k8s.io/v1/namespaces/ingress/httproutes":                   {gatewayGroup + "/v1", "HTTPRoute"},
	"/apis/gateway.networking.k8s.io/v1/namespaces/ingress/grpcroutes":                   {gatewayGroup + "/v1", "GRPCRoute"},
	"/apis/gateway.networking.k8s.io/v1/namespaces/ingress/backendtlspolicies":           {gatewayGroup + "/v1", "BackendTLSPolicy"},
	"/apis/gateway.networking.k8s.io/v1beta1/namespaces/ingress/referencegrants":         {gatewayGroup + "/v1beta1", "ReferenceGrant"},
	"/apis/gateway.networking.k8s.io/v1alpha2/namespaces/ingress/tcproutes":              {gatewayGroup + "/v1alpha2", "TCPRoute"},
	"/apis/gateway.networking.k8s.io/v1alpha2/namespaces/ingress/tlsroutes":              {gatewayGroup + "/v1alpha2", "TLSRoute"},
	"/apis/gateway.networking.k8s.io/v1/gatewayclasses/vaultproof/status":                {},
	"/apis/gateway.networking.k8s.io/v1/namespaces/ingress/gateways/vault/status":        {},
	"/apis/gateway.networking.k8s.io/v1alpha2/namespaces/ingress/tlsroutes/vault/status": {},
}

func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	a.asked = append(a.asked, r.URL.Path)
	a.mu.Unlock()
	resource, known := served[r.URL.Path]
	w.Header().Set("Content-Type", "application/json")
	switch {
	case !known:
		w.WriteHeader(http.StatusForbidden)
		_, _ = w.Write([]byte(`{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Forbidden","code":403}`))
	case r.Method == http.MethodPut: // a status
		status, _ := io.ReadAll(r.Body)
		_, _ = w.Write(status)
	case r.URL.Query().Get("sendInitialEvents") == "true":
		w.WriteHeader(http.StatusBadRequest)
		_, _ = w.Write([]byte(`{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"BadRequest","code":400}`))
	case r.URL.Query().Get("watch") != "":
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	default:
		found := []any{}
		for _, o := range a.objects {
			if o.GetKind() == resource[1] {
				found = append(found, o.Object)
			}
		}
		list := map[string]any{
			"apiVersion": resource[0], "kind": resource[1] + "List", "metadata": map[string]any{"resourceVersion": "1"}, "items": found,
		}
		_ = json.NewEncoder(w).Encode(list)
	}
}

// outside are the questions about more than the ingress's own namespace.
func (a *api) outside() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(a.asked), func(path string) bool { _, known := served[path]; return known })
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// lead points the manifests at a server on loopback.
func lead(t *testing.T, objects kube.Objects, port int64) {
	t.Helper()
	service, ing := objects.Find("Service", "vault"), objects.Find("Ingress", "vault")
	rules, _, _ := unstructured.NestedSlice(ing.Object, "spec", "rules")
	path := rules[0].(map[string]any)["http"].(map[string]any)["paths"].([]any)[0].(map[string]any)
	path["backend"].(map[string]any)["service"].(map[string]any)["port"].(map[string]any)["number"] = port
	endpoint := objects.Find("EndpointSlice", "vault-address")
	ports := func(key string) []any { return []any{map[string]any{"name": "https", "protocol": "TCP", key: port}} }
	for _, err := range []error{
		unstructured.SetNestedField(service.Object, "localhost", "spec", "externalName"),
		unstructured.SetNestedSlice(service.Object, ports("port"), "spec", "ports"),
		unstructured.SetNestedSlice(ing.Object, rules, "spec", "rules"),
		unstructured.SetNestedSlice(endpoint.Object, ports("port"), "ports"),
		unstructured.SetNestedSlice(endpoint.Object, toAddress(netip.MustParseAddr("127.0.0.1")), "endpoints"),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// entrances are where a Traefik listens.
type entrances struct{ web, secure, gateway, health int }

// startTraefik runs the real one, with the arguments and the configuration of the manifests.
func startTraefik(t *testing.T, objects kube.Objects, server string) entrances {
	t.Helper()
	binary := os.Getenv("TRAEFIK_BINARY")
	if binary == "" {
		var err error
		if binary, err = exec.LookPath("traefik"); err != nil {
			t.Skip("no traefik binary: set TRAEFIK_BINARY, or put one into PATH")
		}
	}
	data, _, err := unstructured.NestedStringMap(objects.Find("ConfigMap", "traefik-config").Object, "data")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	at := entrances{web: freePort(t), secure: freePort(t), gateway: freePort(t), health: freePort(t)}
	here := strings.NewReplacer("address=:8000", "address="+local(at.web), "address=:8443", "address="+local(at.secure),
		"address=:8444", "address="+local(at.gateway), "address=:8082", "address="+local(at.health),
		"/etc/traefik/routes.toml", write("routes.toml", data["routes.toml"]))
	// A gateway's listener finds Traefik's by the port.
	for _, listener := range items(objects.Find("Gateway", "vault").Object, "spec", "listeners") {
		listener["port"] = int64(at.gateway)
	}
	kubeconfig := write("kubeconfig", fmt.Sprintf(`{apiVersion: v1, kind: Config, current-context: c, clusters: [{name: c, cluster: {server: %q}}],
contexts: [{name: c, context: {cluster: c, user: u}}], users: [{name: u, user: {token: t}}]}`, server))
	var args []string
	for _, arg := range typed(t, objects, "Deployment", "traefik", &appsv1.Deployment{}).Spec.Template.Spec.Containers[0].Args {
		args = append(args, here.Replace(arg))
	}
	cmd := exec.Command(binary, args...)
	cmd.Env = []string{"KUBECONFIG=" + kubeconfig, "HOME=" + dir}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			text, _ := os.ReadFile(log.Name())
			t.Logf("traefik says:\n%s", text)
		}
	})
	return at
}

func local(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// leafAt is the certificate that is shown for a name.
func leafAt(ctx context.Context, port int, name string) (*x509.Certificate, error) {
	// What is shown is judged by the test, not by the handshake.
	conn, err := (&tls.Dialer{Config: &tls.Config{ServerName: name, InsecureSkipVerify: true}}).DialContext(ctx, "tcp", local(port))
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return conn.(*tls.Conn).ConnectionState().PeerCertificates[0], nil
}

// TestTraefikPassesTLSThroughAndNothingElse runs the real Traefik with the manifests.
func TestTraefikPassesTLSThroughAndNothingElse(t *testing.T) {
	ca, err := issuer.NewCA("test", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := ca.Server("vault", []string{DefaultHost}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := tls.X509KeyPair(pair.Cert, pair.Key)
	if err != nil {
		t.Fatal(err)
	}
	backend := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("vault")) }))
	backend.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
	backend.StartTLS()
	defer backend.Close()
	target, err := url.Parse(backend.URL)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.ParseInt(target.Port(), 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	objects := rendered(t, Options{})
	lead(t, objects, port)
	kubernetes := &api{objects: objects}
	server := httptest.NewServer(kubernetes)
	defer server.CloseClientConnections()
	at := startTraefik(t, objects, server.URL)

	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	door := Door{Host: DefaultHost}
	for _, port := range []int{at.secure, at.gateway} {
		door.Entries = append(door.Entries, Entry{Name: "traefik at " + local(port), DialTLS: func(ctx context.Context) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "tcp", local(port))
		}})
	}
	for err := door.shows(ctx, ca.PEM()); err != nil; err = door.shows(ctx, ca.PEM()) {
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			t.Fatalf("the door does not lead to the backend: %v", err)
		}
	}
	for name, secure := range map[string]bool{"": true, "other.example.org": true, "vault": true, "x." + DefaultHost: true, DefaultHost: false} {
		doors := []int{at.web, at.health}
		if secure {
			doors = append(doors, at.secure, at.gateway)
		}
		for _, port := range doors {
			if leaf, err := leafAt(ctx, port, name); err == nil {
				t.Errorf("port %d shows %q a certificate of %s", port, name, leaf.Subject)
			}
		}
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+local(at.web)+"/v1/sys/health", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Host = DefaultHost
	answer, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if to := answer.Header.Get("Location"); answer.StatusCode != http.StatusMovedPermanently && answer.StatusCode != http.StatusPermanentRedirect || to != "https://"+DefaultHost+"/v1/sys/health" {
		t.Errorf("plain HTTP is answered with %s to %q", answer.Status, to)
	}
	if outside := kubernetes.outside(); len(outside) > 0 {
		t.Errorf("Traefik asks for %v, outside of its namespace", outside)
	}
	other, err := issuer.NewCA("another", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if err := door.shows(ctx, other.PEM()); err == nil {
		t.Error("a certificate of another CA was taken for Vault's")
	}
}
