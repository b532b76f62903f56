package tls

import (
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/vaultproof/vaultproof/pkg/ingress"
)

// plainDoor listens for HTTP in clear.
func plainDoor(t *testing.T, handler http.HandlerFunc) dial {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return to(server.Listener.Addr().String())
}

func TestPlainHTTPIsRedirected(t *testing.T) {
	redirect := func(code int, to string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", to)
			w.WriteHeader(code)
		}
	}
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		want   string
	}{
		"308":               {redirect(308, "https://"+publicHost+"/v1/cubbyhole/vaultproof"), ""},
		"301 with the port": {redirect(301, "https://"+publicHost+":443/"), ""},
		"302":               {redirect(302, "https://"+publicHost+"/"), "status 302"},
		"to another port":   {redirect(308, "https://"+publicHost+":8443/"), "redirected to"},
		"to another host":   {redirect(308, "https://evil.example.org/"), "redirected to"},
		"to plain HTTP":     {redirect(308, "http://"+publicHost+"/"), "redirected to"},
		"nowhere":           {redirect(308, ""), "redirected to"},
		"served":            {func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }, "status 200"},
		"Vault, which refuses": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(403)
			_, _ = io.WriteString(w, `{"errors":["permission denied"]}`)
		}, "Vault itself answered"},
	} {
		for _, method := range []string{http.MethodGet, http.MethodPut} {
			got, err := askPlain(t.Context(), plainDoor(t, c.answer), method, publicHost, "canary")
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			says(t, name, redirects(method, publicHost, got), c.want)
		}
	}
}

func TestTheTokenIsSentInClear(t *testing.T) {
	heard := make(chan string, 1)
	door := plainDoor(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		heard <- r.Host + " " + r.Header.Get("X-Vault-Token") + " " + string(body)
		w.WriteHeader(308)
	})
	if _, err := askPlain(t.Context(), door, http.MethodPut, publicHost, "canary"); err != nil {
		t.Fatal(err)
	}
	if got := <-heard; got != publicHost+` canary {"a":"canary"}` {
		t.Errorf("the door heard %q: without the token nothing is shown", got)
	}
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		if conn, err := closed.Accept(); err == nil {
			conn.Close()
		}
	}()
	defer closed.Close()
	if _, err := askPlain(t.Context(), to(closed.Addr().String()), http.MethodGet, publicHost, "canary"); err == nil {
		t.Error("a door that says nothing answered")
	}
}

func TestTokenStayedOut(t *testing.T) {
	clean := map[string]captured{"vault-0": {Found: map[string]int{findToken: 0, "hello0": 4}}, "vault-1": {Found: map[string]int{findToken: 0}}}
	says(t, "a token that got no further", tokenStayedOut(clean), "")
	clean["vault-1"] = captured{Interface: "veth1", Found: map[string]int{findToken: 1}}
	says(t, "a token that arrived", tokenStayedOut(clean), "at Vault pod vault-1")
	if n := total(clean, "hello0"); n != 4 {
		t.Errorf("counted %d handshakes", n)
	}
}

func TestLastCaptured(t *testing.T) {
	const log = "{\"interface\":\"veth0\",\"packets\":0,\"found\":{\"token\":0}}\n{\"level\":\"INFO\"}\n{\"interface\":\"veth0\",\"packets\":9,\"found\":{\"token\":2}}\n"
	got, err := lastCaptured(log)
	if err != nil || got.Packets != 9 || got.Found[findToken] != 2 {
		t.Errorf("read %+v (%v)", got, err)
	}
	if _, err := lastCaptured("capture failed\n"); err == nil || !strings.Contains(err.Error(), "capture failed") {
		t.Errorf("a capture that said nothing: %v", err)
	}
}

func TestCaptureManifest(t *testing.T) {
	d, _ := doorThrough(nil)
	c := &capture{namespace: "vaultproof-capture-run"}
	vault := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "vault-1"}, Spec: corev1.PodSpec{NodeName: "node-b"}, Status: corev1.PodStatus{PodIP: "10.244.2.3"}}
	// Two ways with the same name, and one without any.
	pod := c.manifest(vault, []ingress.Door{d, d, {}}, "canary")
	s := pod.Spec.Containers[0].SecurityContext
	if pod.Spec.NodeName != "node-b" || !pod.Spec.HostNetwork || pod.Spec.ActiveDeadlineSeconds == nil || s.Privileged != nil || *s.AllowPrivilegeEscalation ||
		!slices.Equal(s.Capabilities.Add, []corev1.Capability{"NET_RAW"}) || !slices.Equal(s.Capabilities.Drop, []corev1.Capability{"ALL"}) || len(pod.Spec.Volumes) > 0 {
		t.Errorf("the capturing pod is %+v", pod.Spec)
	}
	if args := strings.Join(pod.Spec.Containers[0].Args, " "); args != "capture -ip 10.244.2.3 -find token=canary -find hello0="+publicHost {
		t.Errorf("it is told %q", args)
	}
	if n := knocks([]ingress.Door{d, d, {}}, publicHost); n != 2 {
		t.Errorf("%d handshakes are waited for, want one for each entry of both", n)
	}
	if err := c.sees(t.Context(), []ingress.Door{{}}); err == nil {
		t.Error("a door without a name is seen in a capture")
	}
	a, b := canaryToken(rand.New(rand.NewPCG(1, 2))), canaryToken(rand.New(rand.NewPCG(1, 3)))
	if a == b || len(a) < 32 {
		t.Errorf("the canaries are %q and %q", a, b)
	}
}
