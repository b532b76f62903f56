package routing

import (
	"errors"
	"fmt"

	"github.com/onsi/ginkgo/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/vaultproof/vaultproof/pkg/conformance"
)

var act03 = conformance.Check{
	ID: "ACT-03", Area: area, Level: conformance.Must, Manner: conformance.Reads,
	Assertion: "Services for clients have publishNotReadyAddresses=false, the headless one true",
	Source:    "vault-helm#430, vault-helm#817, vault-helm PR#902",
	Observe:   "spec of every Service that selects Vault pods",
}

var _ = conformance.It(act03, conformance.Conformance, func(ctx ginkgo.SpecContext, r *conformance.Case) error {
	list, err := r.Target.Client.CoreV1().Services(r.Target.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return r.CannotTell(fmt.Errorf("listing Services in namespace %s: %w", r.Target.Namespace, err))
	}
	return publishing(list.Items, r.Target.ClientServices, r.Target.HeadlessService)
})

// publishing judges publishNotReadyAddresses of the Services named.
func publishing(services []corev1.Service, clients []string, headless string) error {
	specs := map[string]corev1.ServiceSpec{}
	for _, s := range services {
		specs[s.Name] = s.Spec
	}
	if len(clients) == 0 {
		return errors.New("no Service for clients selects the Vault pods")
	}
	for _, name := range clients {
		spec, ok := specs[name]
		if !ok {
			return fmt.Errorf("Service %s is gone", name)
		}
		if spec.PublishNotReadyAddresses {
			return fmt.Errorf("Service %s has publishNotReadyAddresses=true, want false: it routes clients to sealed pods (vault-helm#430)", name)
		}
	}
	spec, ok := specs[headless]
	if headless == "" || !ok {
		return errors.New("no headless Service selects the Vault pods: peers cannot find each other before they are Ready")
	}
	if !spec.PublishNotReadyAddresses {
		return fmt.Errorf("headless Service %s has publishNotReadyAddresses=false, want true: pods that are sealed cannot be joined", headless)
	}
	return nil
}
