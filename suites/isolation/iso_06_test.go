package isolation

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/vaultproof/vaultproof/pkg/target"
)

func TestNeededPlaces(t *testing.T) {
	service := func(namespace, name, ip string, port int32, marks map[string]string) *corev1.Service {
		return &corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: marks},
			Spec:       corev1.ServiceSpec{ClusterIP: ip, Ports: []corev1.ServicePort{{Port: port}}},
		}
	}
	api := service("default", "kubernetes", "10.96.0.1", 443, nil)
	dns := service("kube-system", "kube-dns", "10.96.0.10", 53, map[string]string{"k8s-app": "kube-dns"})
	custody := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "vault", Name: custodyConfig}, Data: map[string]string{"endpoint": "10.9.8.7:8443"}}
	doors, err := neededPlaces(t.Context(), &target.Target{Namespace: "vault", Client: fake.NewClientset(api, dns, custody)})
	if err != nil || len(doors) != 3 || doors[0].address != "10.96.0.1:443" || doors[1].address != "10.96.0.10:53" || doors[2].address != "10.9.8.7:8443" {
		t.Errorf("places %+v (%v)", doors, err)
	}
	for _, d := range doors {
		if d.want != open {
			t.Errorf("%s is wanted %s", d.to, d.want)
		}
	}
	if doors, err := neededPlaces(t.Context(), &target.Target{Namespace: "vault", Client: fake.NewClientset(api)}); err != nil || len(doors) != 1 {
		t.Errorf("without custody and DNS: %+v (%v)", doors, err)
	}
	_, err = neededPlaces(t.Context(), &target.Target{Namespace: "vault", Client: fake.NewClientset()})
	says(t, "no API server", err, "default/kubernetes")
	if d := custodyDoor(""); d.address != "secretmanager.googleapis.com:443" {
		t.Errorf("Google's custody is at %s", d.address)
	}
}

func TestLeavers(t *testing.T) {
	vault := pod("vault", "vault-0", "a", "")
	vault.Status.HostIP = "172.18.0.3"
	guests := leavers("vault", vaultLabels, []door{doorTo("the API server", "10.96.0.1", 443, open)}, "10.0.0.7", kubelets([]corev1.Pod{vault, vault}))
	want := map[string]map[string]string{
		"insider":  {"10.96.0.1:443": open, "1.1.1.1:443": shut, "172.18.0.3:10250": shut, "10.0.0.7:8080": shut},
		"outsider": {"1.1.1.1:443": try, "172.18.0.3:10250": try, "10.0.0.7:8080": open},
	}
	var all []found
	for _, g := range guests {
		if len(g.doors) != len(want[g.role]) {
			t.Errorf("%s has %d doors, want %d", g.role, len(g.doors), len(want[g.role]))
		}
		for _, d := range g.doors {
			if want[g.role][d.address] != d.want {
				t.Errorf("%s: %s is wanted %s, want %q", g.role, d.address, d.want, want[g.role][d.address])
			}
			all = append(all, found{door: d, guest: g.who, on: "172.18.0.9", report: report{Open: true}})
		}
	}
	if guests[0].outbound || guests[1].namespace == "vault" {
		t.Error("the insider must be under Vault's policies, the outsider must not")
	}
	// Without any policy, or on a network that ignores them, everything is open.
	says(t, "no policy", trespass(awayFromHome(all), "none"), "1.1.1.1:443", "172.18.0.3:10250", "10.0.0.7:8080")
}

func TestAwayFromHome(t *testing.T) {
	home := found{door: doorTo("the kubelet of node a", "172.18.0.3", kubeletPort, shut), on: "172.18.0.3", report: report{Open: true}}
	away := home
	away.on = "172.18.0.4"
	says(t, "its own node", trespass(awayFromHome([]found{home}), ""))
	says(t, "another node", trespass(awayFromHome([]found{home, away}), ""), "the kubelet of node a")
}

func TestUnproved(t *testing.T) {
	all := []found{seen("the internet", try, false), seen("a kubelet", try, true), seen("a pod", shut, false)}
	if left := unproved(all); len(left) != 1 || left[0].to != "the internet" {
		t.Errorf("unproved %+v", left)
	}
}
