package isolation

import (
	"errors"
	"fmt"
	"slices"

	"github.com/onsi/ginkgo/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/target"
)

// clusterPort is where Vault's peers talk: raft and forwarded requests.
const clusterPort = 8201

var iso05 = conformance.Check{
	ID: "ISO-05", Area: area, Level: conformance.Must, Manner: conformance.Beside,
	Assertion: "network policies hold on the wire: 8200 only from allowed clients, 8201 only from peers, the metrics port only from the scraper",
	Source:    "vault-helm values.yaml, server.networkPolicy: off by default, and open to all namespaces when on",
	Observe: "TCP connects to every port of every Vault pod from pods of this run: without labels in another namespace, without labels beside Vault, " +
		"labelled as client, as scraper, and like a Vault pod; as a control the same pods connect to the same ports of a pod elsewhere",
	Timeout: 2*guestPatience + conformance.DefaultTimeout,
}

var _ = conformance.It(iso05, conformance.Conformance, func(ctx ginkgo.SpecContext, r *conformance.Case) error {
	s, err := setScene(ctx, r)
	if err != nil {
		return err
	}
	pods, err := r.Target.Pods(ctx)
	if err != nil {
		return r.CannotTell(err)
	}
	ports := portsOf(s.template.Spec, r.Target)
	vault, err := vaultPorts(pods, ports)
	if err != nil {
		return r.CannotTell(err)
	}
	p := newParty(r)
	host, err := p.host(ctx, ports.all())
	if err != nil {
		return r.CannotTell(err)
	}
	all, err := p.visit(ctx, visitors(r.Target.Namespace, s.like, vault, controls(host, ports)))
	if err != nil {
		return r.CannotTell(err)
	}
	r.Measure("connections_shut_total", float64(count(all, shut)))
	r.Measure("connections_open_total", float64(count(all, open)))
	if err := trespass(all, s.guard); err != nil {
		return err
	}
	return r.CannotTell(alive(all))
})

// ports are those of a Vault pod, by who may connect to them.
type ports struct {
	client  []int32 // clients and peers
	peer    []int32 // peers alone
	scraper []int32 // what collects metrics
}

func (p ports) all() []int32 { return slices.Concat(p.client, p.peer, p.scraper) }

// portsOf reads the ports from the pod template. Those of the sidecar are for metrics;
// those of Vault itself beside 8200 are for peers.
func portsOf(spec corev1.PodSpec, t *target.Target) ports {
	p := ports{client: []int32{target.VaultPort}, peer: []int32{clusterPort}}
	for _, c := range slices.Concat(spec.InitContainers, spec.Containers) {
		for _, port := range c.Ports {
			switch {
			case port.Protocol == corev1.ProtocolUDP || slices.Contains(p.all(), port.ContainerPort):
			case c.Name == t.SidecarContainer:
				p.scraper = append(p.scraper, port.ContainerPort)
			case c.Name == t.Container:
				p.peer = append(p.peer, port.ContainerPort)
			}
		}
	}
	return p
}

// class says who may connect to a port.
func (p ports) class(port int32) string {
	switch {
	case slices.Contains(p.client, port):
		return forClients
	case slices.Contains(p.peer, port):
		return forPeers
	default:
		return forScrapers
	}
}

// entrance is one port of one Vault pod.
type entrance struct {
	door
	class string
}

// Classes of entrances, by who may use them.
const (
	forClients  = "client"
	forPeers    = "peer"
	forScrapers = "scraper"
)

// vaultPorts lists the entrances of all Vault pods.
func vaultPorts(pods []corev1.Pod, p ports) ([]entrance, error) {
	if len(pods) == 0 {
		return nil, errors.New("there is no Vault pod to connect to")
	}
	var all []entrance
	for _, pod := range pods {
		if pod.Status.PodIP == "" {
			return nil, fmt.Errorf("Vault pod %s has no address yet", pod.Name)
		}
		for _, port := range p.all() {
			all = append(all, entrance{doorTo(fmt.Sprintf("port %d of pod %s", port, pod.Name), pod.Status.PodIP, port, shut), p.class(port)})
		}
	}
	return all, nil
}

// controls are the same ports of a pod that no policy of Vault's guards.
func controls(host string, p ports) []door {
	var doors []door
	for _, port := range p.all() {
		doors = append(doors, doorTo(fmt.Sprintf("port %d of a pod in namespace %s", port, elsewhere), host, port, open))
	}
	return doors
}

// visitors are the guests and what each may open. All of them may connect to anywhere as
// far as their own side goes, so that Vault's side alone decides.
func visitors(namespace string, peer labels.Set, vault []entrance, control []door) []guest {
	doors := func(may ...string) []door {
		all := slices.Clone(control)
		for _, e := range vault {
			d := e.door
			if slices.Contains(may, e.class) {
				d.want = open
			}
			all = append(all, d)
		}
		return all
	}
	return []guest{
		{role: "stranger", namespace: elsewhere, doors: doors(), who: "a pod without labels in namespace " + elsewhere},
		{role: "neighbour", namespace: namespace, doors: doors(), outbound: true, who: "a pod without labels in namespace " + namespace},
		{
			role: "client", namespace: elsewhere, doors: doors(forClients), labels: map[string]string{clientLabel: clientValue},
			who: fmt.Sprintf("a pod labelled %s=%s in namespace %s", clientLabel, clientValue, elsewhere),
		},
		{
			role: "scraper", namespace: elsewhere, doors: doors(forScrapers), labels: map[string]string{scraperLabel: scraperValue},
			who: fmt.Sprintf("a pod labelled %s=%s in namespace %s", scraperLabel, scraperValue, elsewhere),
		},
		{
			role: "peer", namespace: namespace, doors: doors(forClients, forPeers), labels: peer, outbound: true,
			who: fmt.Sprintf("a pod labelled like Vault's (%s) in namespace %s", peer, namespace),
		},
	}
}
