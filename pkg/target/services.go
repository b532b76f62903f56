package target

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/version"
)

// findServices sorts out which Service is for what. A Vault that no Service tells the
// active pod of is one to look at all the same: its clients' Service stands in.
func (t *Target) findServices(ctx context.Context, told FileServices, set *appsv1.StatefulSet) error {
	list, err := t.Client.CoreV1().Services(t.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("listing Services in namespace %s: %w", t.Namespace, err)
	}
	active, headless, clients := classifyServices(list.Items, set.Spec.Template.Labels, set.Spec.ServiceName)
	t.ActiveService = cmp.Or(told.Active, active)
	t.HeadlessService = cmp.Or(told.Headless, headless)
	t.ClientServices = clients
	if len(told.Clients) > 0 {
		t.ClientServices = slices.Sorted(slices.Values(told.Clients))
	}
	for _, name := range slices.Concat([]string{told.Active, told.Headless}, told.Clients) {
		if name != "" && !slices.ContainsFunc(list.Items, func(s corev1.Service) bool { return s.Name == name }) {
			return fmt.Errorf("the target file names Service %s, which namespace %s does not have: mend its name", name, t.Namespace)
		}
	}
	if t.ActiveService != "" {
		return nil
	}
	t.unseen("service of the active pod", fmt.Sprintf("no Service in namespace %s selects the Vault pods with %s=true (service_registration \"kubernetes\" sets that label)", t.Namespace, ActiveLabel))
	if len(t.ClientServices) > 0 {
		t.ActiveService = t.ClientServices[0]
	}
	return nil
}

// findHosts notes the public names of Vault: those that are told, and those of Ingresses in
// its namespace.
func (t *Target) findHosts(ctx context.Context, told []FileIngress) error {
	var hosts []string
	for _, in := range told {
		hosts = append(hosts, in.Host)
	}
	t.Ingress = told
	list, err := t.Client.NetworkingV1().Ingresses(t.Namespace).List(ctx, metav1.ListOptions{})
	switch {
	case apierrors.IsForbidden(err):
		t.unseen("ingress", "the user of the kubeconfig may not list Ingresses in namespace "+t.Namespace)
	case err != nil:
		return fmt.Errorf("listing Ingresses in namespace %s: %w", t.Namespace, err)
	default:
		hosts = append(hosts, hostsTo(list.Items, append([]string{t.ActiveService, t.HeadlessService}, t.ClientServices...))...)
	}
	slices.Sort(hosts)
	if hosts = slices.Compact(hosts); len(hosts) > 0 {
		t.found("ingress", strings.Join(hosts, ", "))
	} else if err == nil {
		t.unseen("ingress", "no Ingress in namespace "+t.Namespace+" leads to Vault, and no target file names one; those of other namespaces and Gateway routes are looked for when they are checked")
	}
	return nil
}

// hostsTo are the hosts of those Ingresses that lead to one of the services.
func hostsTo(ingresses []networkingv1.Ingress, services []string) []string {
	var hosts []string
	for _, ingress := range ingresses {
		for _, rule := range ingress.Spec.Rules {
			if rule.HTTP == nil || rule.Host == "" {
				continue
			}
			if slices.ContainsFunc(rule.HTTP.Paths, func(p networkingv1.HTTPIngressPath) bool {
				return p.Backend.Service != nil && p.Backend.Service.Name != "" && slices.Contains(services, p.Backend.Service.Name)
			}) {
				hosts = append(hosts, rule.Host)
			}
		}
	}
	return hosts
}

// classifyServices sorts the Services that select pods with podLabels: the one
// that follows the active label, the headless one, and all that clients may
// use. governing is the StatefulSet's serviceName, preferred as headless.
func classifyServices(services []corev1.Service, podLabels map[string]string, governing string) (active, headless string, clients []string) {
	withActive := labels.Merge(podLabels, labels.Set{ActiveLabel: "true"})
	for _, s := range services {
		if len(s.Spec.Selector) == 0 || !labels.SelectorFromSet(s.Spec.Selector).Matches(labels.Set(withActive)) {
			continue
		}
		follows := s.Spec.Selector[ActiveLabel] == "true"
		isHeadless := s.Spec.ClusterIP == corev1.ClusterIPNone
		switch {
		case isHeadless && !follows:
			if headless == "" || s.Name == governing {
				headless = s.Name
			}
		case follows:
			if active == "" || !isHeadless {
				active = s.Name
			}
			clients = append(clients, s.Name)
		default:
			clients = append(clients, s.Name)
		}
	}
	slices.Sort(clients)
	return active, headless, clients
}

func parseVersion(body []byte) (version.Info, error) {
	var info version.Info
	if err := json.Unmarshal(body, &info); err != nil {
		return info, fmt.Errorf("parsing /version: %w", err)
	}
	if info.GitVersion == "" {
		return info, errors.New("/version names no gitVersion")
	}
	return info, nil
}
