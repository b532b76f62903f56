package target

import (
	"crypto/x509"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/rest"
	kubetesting "k8s.io/client-go/testing"
)

// vaultSet is a StatefulSet as the common charts make it.
func vaultSet(namespace, name string, labels map[string]string, spec corev1.PodSpec) *appsv1.StatefulSet {
	if spec.Containers == nil {
		spec.Containers = []corev1.Container{{Name: "vault"}}
	}
	return &appsv1.StatefulSet{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: labels},
		Spec: appsv1.StatefulSetSpec{
			ServiceName: name + "-internal",
			Selector:    &metav1.LabelSelector{MatchLabels: labels},
			Template:    corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: spec},
		},
	}
}

func serviceOf(namespace, name, clusterIP string, selector map[string]string) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec:       corev1.ServiceSpec{ClusterIP: clusterIP, Selector: selector},
	}
}

func with(labels map[string]string, key, value string) map[string]string {
	out := maps.Clone(labels)
	out[key] = value
	return out
}

// searched looks in a cluster with these objects, none of whose pods answers.
func searched(t *testing.T, file File, objects ...runtime.Object) (*Target, error) {
	t.Helper()
	target := &Target{Client: fake.NewClientset(objects...), Config: &rest.Config{Host: "https://127.0.0.1:1"}}
	return target, target.look(t.Context(), file, Options{})
}

func TestVaultsOfTheCommonCharts(t *testing.T) {
	helm := map[string]string{NameLabel: "vault", "app.kubernetes.io/instance": "v", "component": "server"}
	banzai := map[string]string{NameLabel: "vault", "vault_cr": "vault"}
	cacert := corev1.PodSpec{
		Containers: []corev1.Container{{
			Name: "vault", Env: []corev1.EnvVar{{Name: "VAULT_CACERT", Value: "/vault/tls/ca.crt"}},
			VolumeMounts: []corev1.VolumeMount{{Name: "vault-tls", MountPath: "/vault/tls"}},
		}},
		Volumes: []corev1.Volume{{Name: "vault-tls", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "vault-tls"}}}},
	}
	for name, c := range map[string]struct {
		objects []runtime.Object
		want    map[string]string // of Found
		unseen  []string
	}{
		"hashicorp/vault": {
			[]runtime.Object{
				vaultSet("secrets", "v", helm, corev1.PodSpec{Containers: []corev1.Container{{Name: "vault", Env: []corev1.EnvVar{{Name: "VAULT_ADDR", Value: "http://127.0.0.1:8200"}}}}}),
				vaultSet("secrets", "v-injector", with(helm, "component", "webhook"), corev1.PodSpec{}),
				serviceOf("secrets", "v", "10.0.0.1", helm), serviceOf("secrets", "v-active", "10.0.0.2", with(helm, ActiveLabel, "true")),
				serviceOf("secrets", "v-standby", "10.0.0.3", with(helm, ActiveLabel, "false")), serviceOf("secrets", "v-internal", corev1.ClusterIPNone, helm),
				&networkingv1.Ingress{ObjectMeta: metav1.ObjectMeta{Namespace: "secrets", Name: "v"}, Spec: networkingv1.IngressSpec{Rules: []networkingv1.IngressRule{{
					Host: "vault.example.org", IngressRuleValue: networkingv1.IngressRuleValue{HTTP: &networkingv1.HTTPIngressRuleValue{Paths: []networkingv1.HTTPIngressPath{
						{Backend: networkingv1.IngressBackend{Service: &networkingv1.IngressServiceBackend{Name: "v-active"}}}}}},
				}}}},
			},
			map[string]string{
				"namespace": "secrets", "statefulSet": "v", "service of the active pod": "v-active", "services for clients": "v, v-active", "headless service": "v-internal",
				"tls": "off by VAULT_ADDR of the pods, none of which answers", "address": "http://v-active.secrets.svc:8200", "ingress": "vault.example.org",
			},
			[]string{"custody", "sidecar"},
		},
		"bank-vaults": {
			[]runtime.Object{
				vaultSet("default", "vault", banzai, cacert),
				serviceOf("default", "vault", "10.0.0.1", banzai),
				&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "vault-tls"}, Data: map[string][]byte{"ca.crt": []byte("pem")}},
			},
			map[string]string{"statefulSet": "vault", "service of the active pod": "vault", "address": "https://vault.default.svc:8200", "CA": "Secret vault-tls, key ca.crt"},
			[]string{"custody", "headless service", "ingress", "service of the active pod", "sidecar"},
		},
	} {
		target, err := searched(t, File{}, c.objects...)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		found := target.Found()
		for what, want := range c.want {
			if found[what] != want {
				t.Errorf("%s: %s is %q, want %q", name, what, found[what], want)
			}
		}
		unseen := target.Unseen()
		for _, what := range c.unseen {
			if unseen[what] == "" {
				t.Errorf("%s: nothing is said of %s, which is not there: %v", name, what, unseen)
			}
		}
		target.say() // one line, whatever is there
	}
}

func TestCandidates(t *testing.T) {
	labels := map[string]string{NameLabel: "vault"}
	labelled := *vaultSet("a", "vault", labels, corev1.PodSpec{})
	unlabelled := *vaultSet("b", "keeper", nil, corev1.PodSpec{})
	database := *vaultSet("c", "db", nil, corev1.PodSpec{Containers: []corev1.Container{{Name: "postgres"}}})
	webhook := *vaultSet("a", "injector", with(labels, "component", "webhook"), corev1.PodSpec{})
	for name, c := range map[string]struct {
		all  []appsv1.StatefulSet
		file File
		want []string
	}{
		"by label":     {[]appsv1.StatefulSet{labelled, unlabelled, database, webhook}, File{}, []string{"vault"}},
		"by container": {[]appsv1.StatefulSet{unlabelled, database}, File{}, []string{"keeper"}},
		"as told":      {[]appsv1.StatefulSet{labelled, unlabelled, database}, File{StatefulSet: "keeper"}, []string{"keeper"}},
		"none":         {[]appsv1.StatefulSet{database}, File{}, nil},
	} {
		var got []string
		for _, s := range candidates(c.all, c.file) {
			got = append(got, s.Name)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

func TestWhatIsToldGoesFirst(t *testing.T) {
	plaintext := true
	labels := map[string]string{"app": "keeper"}
	objects := []runtime.Object{
		vaultSet("secrets", "keeper", labels, corev1.PodSpec{Containers: []corev1.Container{{Name: "server"}}}),
		serviceOf("secrets", "keeper", "10.0.0.1", labels), serviceOf("secrets", "leader", "10.0.0.2", nil),
		&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "vault", Name: custodyName}, Data: map[string]string{"project": "p", "prefix": "vault"}},
	}
	file := File{
		Namespace: "secrets", StatefulSet: "keeper", Container: "server",
		Services: FileServices{Active: "leader"}, TLS: FileTLS{Plaintext: &plaintext, ServerName: "keeper.example.org"},
		Ingress: []FileIngress{{Host: "keeper.example.org", Address: "203.0.113.5"}},
	}
	target, err := searched(t, file, objects...)
	if err != nil {
		t.Fatal(err)
	}
	if target.Container != "server" || target.ActiveService != "leader" || target.Address() != "http://keeper.example.org:8200" || target.Ingress[0].Address != "203.0.113.5" {
		t.Errorf("found %v", target.Found())
	}
	data, err := target.custodyData(t.Context(), File{Custody: &FileCustody{ConfigMap: "vault/" + custodyName, Prefix: "keeper"}})
	if err != nil || data["project"] != "p" || data["prefix"] != "keeper" {
		t.Errorf("custody %v, %v", data, err)
	}
	for want, file := range map[string]File{
		"mend custody.configMap":         {StatefulSet: "keeper", Container: "server", Custody: &FileCustody{ConfigMap: "none"}},
		"names Service none":             {StatefulSet: "keeper", Container: "server", Services: FileServices{Clients: []string{"none"}}},
		"(Secret secrets/none, key tls)": {StatefulSet: "keeper", Container: "server", TLS: FileTLS{CASecret: "none", CAKey: "tls"}},
		"no container named vault":       {StatefulSet: "keeper"},
		"no StatefulSet labelled":        {StatefulSet: "absent"},
	} {
		if _, err := searched(t, file, objects...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func TestACANobodyMayReadIsUnseen(t *testing.T) {
	client := fake.NewClientset()
	client.PrependReactor("get", "secrets", func(kubetesting.Action) (bool, runtime.Object, error) {
		return true, nil, apierrors.NewForbidden(schema.GroupResource{Resource: "secrets"}, caName, nil)
	})
	target := &Target{Client: client, Namespace: "vault"}
	if err := target.findCA(t.Context(), File{}, corev1.PodSpec{}); err != nil || !strings.Contains(target.Unseen()["CA"], "may not read Secret vault-ca") {
		t.Errorf("%v, unseen %v", err, target.Unseen())
	}
}

func TestWhereMountedFilesComeFrom(t *testing.T) {
	spec := corev1.PodSpec{
		Containers: []corev1.Container{{Name: "vault", VolumeMounts: []corev1.VolumeMount{
			{Name: "secret", MountPath: "/vault/tls"}, {Name: "projected", MountPath: "/vault/trust/"}, {Name: "one", MountPath: "/etc/ca.pem", SubPath: "root.pem"}, {Name: "data", MountPath: "/vault/tlsdata"},
		}}},
		Volumes: []corev1.Volume{
			{Name: "secret", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "server", Items: []corev1.KeyToPath{{Key: "issuer", Path: "ca.crt"}}}}},
			{Name: "projected", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
				{ConfigMap: &corev1.ConfigMapProjection{LocalObjectReference: corev1.LocalObjectReference{Name: "trust"}}}}}}},
			{Name: "one", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "roots"}}}},
			{Name: "data", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
		},
	}
	got := mountedBundles(spec, "vault", []string{"/vault/tls/ca.crt", "/vault/trust/sub/ca.crt", "/etc/ca.pem", "/vault/tlsdata/ca.crt", "/elsewhere/ca.crt"})
	want := []bundle{{inSecret, "server", "issuer"}, {inConfigMap, "trust", "sub/ca.crt"}, {inConfigMap, "roots", "root.pem"}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("found %v, want %v", got, want)
	}
	files := map[string]string{"a/vault.hcl": `retry_join { leader_ca_cert_file = "/vault/tls/ca.crt" }`}
	spec.Containers[0].Env = []corev1.EnvVar{{Name: "VAULT_CACERT", Value: "/etc/ca.pem"}}
	if got := caPaths(spec, "vault", files); !slices.Equal(got, []string{"/etc/ca.pem", "/vault/tls/ca.crt"}) {
		t.Errorf("CA files %v", got)
	}
}

func TestWhoSpeaksPlainHTTP(t *testing.T) {
	sealed := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	plain, secure := httptest.NewServer(sealed), httptest.NewTLSServer(sealed)
	t.Cleanup(plain.Close)
	t.Cleanup(secure.Close)
	for address, want := range map[string]bool{plain.Listener.Addr().String(): true, secure.Listener.Addr().String(): false} {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := speaksPlain(conn); err != nil || got != want {
			t.Errorf("%s: plain %t, error %v, want %t", address, got, err, want)
		}
		conn.Close()
	}
	mute, refused := net.Pipe()
	refused.Close()
	if _, err := speaksPlain(mute); err == nil {
		t.Error("a connection that is closed at once tells something")
	}
}

func TestTheNameThatACertificateIsFor(t *testing.T) {
	target := &Target{Namespace: "vault", StatefulSet: "vault", ActiveService: "vault-active", ClientServices: []string{"vault", "vault-active"}, HeadlessService: "vault-internal"}
	for want, leaf := range map[string]*x509.Certificate{
		"vault-active.vault.svc": {DNSNames: []string{"localhost", "vault-active.vault.svc"}},
		"vault-0.vault-internal": {DNSNames: []string{"*.vault-internal"}},
		"vault.vault.svc":        {DNSNames: []string{"vault.vault.svc"}},
		"127.0.0.1":              {IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}},
	} {
		if got, fits := nameFor(leaf, target.serverNames()); !fits || got != want {
			t.Errorf("name %q (%t), want %q", got, fits, want)
		}
	}
	if _, fits := nameFor(&x509.Certificate{DNSNames: []string{"example.org"}}, target.serverNames()); fits {
		t.Error("a certificate for somebody else fits")
	}
}
