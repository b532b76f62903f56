package isolation

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/vaultproof/vaultproof/pkg/target"
)

func stackSpec() corev1.PodSpec {
	return corev1.PodSpec{Containers: []corev1.Container{
		{Name: "vault", Ports: []corev1.ContainerPort{{ContainerPort: 8200}, {ContainerPort: 8201}, {ContainerPort: 8202}, {ContainerPort: 9, Protocol: corev1.ProtocolUDP}}},
		{Name: "bootstrap", Ports: []corev1.ContainerPort{{ContainerPort: 8210}}},
		{Name: "other", Ports: []corev1.ContainerPort{{ContainerPort: 80}}},
	}}
}

func TestPortsOf(t *testing.T) {
	p := portsOf(stackSpec(), &target.Target{Container: "vault", SidecarContainer: "bootstrap"})
	for port, class := range map[int32]string{8200: forClients, 8201: forPeers, 8202: forPeers, 8210: forScrapers} {
		if p.class(port) != class {
			t.Errorf("port %d is for the %s, want the %s", port, p.class(port), class)
		}
	}
	if len(p.all()) != 4 {
		t.Errorf("ports %v", p.all())
	}
	// A Vault that names no port has the usual two.
	if p := portsOf(corev1.PodSpec{}, &target.Target{Container: "vault"}); len(p.all()) != 2 {
		t.Errorf("ports %v", p.all())
	}
}

func TestVaultPorts(t *testing.T) {
	vault := pod("vault", "vault-0", "a", "")
	p := ports{client: []int32{8200}, peer: []int32{8201}, scraper: []int32{8210}}
	_, err := vaultPorts([]corev1.Pod{vault}, p)
	says(t, "no address", err, "vault-0 has no address")
	_, err = vaultPorts(nil, p)
	says(t, "no pod", err, "no Vault pod")
	vault.Status.PodIP = "10.0.0.9"
	all, err := vaultPorts([]corev1.Pod{vault}, p)
	if err != nil || len(all) != 3 || all[2].address != "10.0.0.9:8210" || all[2].class != forScrapers || all[2].want != shut {
		t.Errorf("entrances %+v (%v)", all, err)
	}
}

// Who may open what, and that each who may not is told by trespass if it could.
func TestVisitors(t *testing.T) {
	vault := pod("vault", "vault-0", "a", "")
	vault.Status.PodIP = "10.0.0.9"
	p := ports{client: []int32{8200}, peer: []int32{8201}, scraper: []int32{8210}}
	entrances, err := vaultPorts([]corev1.Pod{vault}, p)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{ // 8200, 8201, 8210
		"stranger": "shut shut shut", "neighbour": "shut shut shut", "client": "open shut shut", "scraper": "shut shut open", "peer": "open open shut",
	}
	for _, g := range visitors("vault", labels.Set{"component": "server"}, entrances, controls("10.0.0.7", p)) {
		var all []found
		by := map[string]string{}
		for _, d := range g.doors {
			by[d.address] = d.want
			all = append(all, found{door: d, guest: g.who, report: report{Open: true}})
		}
		if got := by["10.0.0.9:8200"] + " " + by["10.0.0.9:8201"] + " " + by["10.0.0.9:8210"]; got != want[g.role] {
			t.Errorf("%s: %s, want %s", g.role, got, want[g.role])
		}
		if by["10.0.0.7:8201"] != open {
			t.Errorf("%s has no control: %v", g.role, by)
		}
		// Without any policy everything is open, to each of them.
		says(t, "no policy: "+g.role, trespass(all, ""), g.who)
		delete(want, g.role)
	}
	if len(want) > 0 {
		t.Errorf("there is no %v", want)
	}
}
