package fault

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
	ctrlfake "sigs.k8s.io/controller-runtime/pkg/client/fake"
)

func podWith(namespace, name string, labels map[string]string) corev1.Pod {
	return corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: labels}, Spec: corev1.PodSpec{NodeName: "a1"}}
}

func TestWhatAZoneLosses(t *testing.T) {
	f := &ZoneLoss{Env: &Env{Namespace: "vault", RunID: "r1"}, Zone: "a"}
	host := podWith("kube-system", "kube-proxy", nil)
	host.Spec.HostNetwork = true
	over := podWith("vault", "job", nil)
	over.Status.Phase = corev1.PodSucceeded
	daemon := podWith("chaos-mesh", "daemon", map[string]string{chaosPartLabel: chaosPartValue, chaosComponentLabel: "chaos-daemon"})
	zone := []corev1.Pod{podWith("vault", "vault-0", nil), host, over, daemon, podWith("kube-system", "coredns", nil)}
	lost, err := f.doomed(zone)
	if want := map[string][]string{"vault": {"vault-0"}, "kube-system": {"coredns"}}; err != nil || !maps.EqualFunc(lost, want, slices.Equal) {
		t.Errorf("lost %v (%v), want %v", lost, err, want)
	}
	controller := podWith("chaos-mesh", "controller", map[string]string{chaosPartLabel: chaosPartValue, chaosComponentLabel: chaosControllerValue})
	prober := podWith("probes", "prober-x", map[string]string{runLabel: "r1"})
	for want, pods := range map[string][]corev1.Pod{
		"Chaos Mesh's controller chaos-mesh/controller, which must end it": append(slices.Clone(zone), controller),
		"prober-x of this run":      append(slices.Clone(zone), prober),
		"no pod of namespace vault": zone[1:],
	} {
		if _, err := f.doomed(pods); !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want ErrUnavailable with %q", err, want)
		}
	}
}

func TestZoneLossIsFromEverything(t *testing.T) {
	fastSettling(t)
	chaos := ctrlfake.NewClientBuilder().WithScheme(chaosScheme(t)).WithInterceptorFuncs(settling).Build()
	vault := podWith("vault", "vault-0", nil)
	client := fake.NewClientset(&vault, daemonAt("a1"),
		&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "a1", Labels: map[string]string{zoneLabel: "a"}}})
	env := &Env{Client: client, Chaos: chaos, Namespace: "vault", RunID: "r"}
	hit, err := (&ZoneLoss{Env: env, Zone: "a", Duration: time.Minute}).Inject(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var list v1alpha1.NetworkChaosList
	if err := chaos.List(t.Context(), &list); err != nil || len(list.Items) != 1 {
		t.Fatalf("%d objects (%v), want 1", len(list.Items), err)
	}
	spec := list.Items[0].Spec
	if spec.Target != nil || spec.ExternalTargets != nil || spec.Direction != v1alpha1.Both || !slices.Equal(spec.Selector.Pods["vault"], []string{"vault-0"}) {
		t.Errorf("%+v, want vault-0 cut off from everything", spec)
	}
	if err := hit.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := (&ZoneLoss{Env: env, Zone: "b"}).Inject(t.Context()); !errors.Is(err, ErrUnavailable) {
		t.Errorf("a zone without nodes: %v, want ErrUnavailable", err)
	}
}
