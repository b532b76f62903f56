package isolation

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/vaultproof/vaultproof/pkg/target"
)

// instanceLabel is what most installations tell two Vaults of one cluster apart by.
// Their network policies seldom ask for it, their Services do.
const instanceLabel = "app.kubernetes.io/instance"

// surroundings are the objects of the namespace that select pods by labels.
type surroundings struct {
	policies []networkingv1.NetworkPolicy
	services []corev1.Service
	budgets  []policyv1.PodDisruptionBudget
	own      labels.Selector // of the StatefulSet
}

func survey(ctx context.Context, t *target.Target) (surroundings, error) {
	s := surroundings{own: t.Selector}
	policies, err := t.Client.NetworkingV1().NetworkPolicies(t.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return s, fmt.Errorf("listing the NetworkPolicies of namespace %s: %w", t.Namespace, err)
	}
	services, err := t.Client.CoreV1().Services(t.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return s, fmt.Errorf("listing the Services of namespace %s: %w", t.Namespace, err)
	}
	budgets, err := t.Client.PolicyV1().PodDisruptionBudgets(t.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return s, fmt.Errorf("listing the PodDisruptionBudgets of namespace %s: %w", t.Namespace, err)
	}
	s.policies, s.services, s.budgets = policies.Items, services.Items, budgets.Items
	return s, nil
}

// over names the policies that apply to a pod with these labels.
func (s surroundings) over(pod labels.Set) ([]networkingv1.NetworkPolicy, error) {
	var chosen []networkingv1.NetworkPolicy
	for _, p := range s.policies {
		selector, err := metav1.LabelSelectorAsSelector(&p.Spec.PodSelector)
		if err != nil {
			return nil, fmt.Errorf("reading the selector of NetworkPolicy %s: %w", p.Name, err)
		}
		if selector.Matches(pod) {
			chosen = append(chosen, p)
		}
	}
	return chosen, nil
}

// describe says, for a message, which policies guard a pod with these labels and since
// when.
func (s surroundings) describe(pod labels.Set) (string, error) {
	chosen, err := s.over(pod)
	if err != nil {
		return "", err
	}
	if len(chosen) == 0 {
		return fmt.Sprintf("none of the %d NetworkPolicies of the namespace selects the Vault pods", len(s.policies)), nil
	}
	var words []string
	for _, p := range chosen {
		words = append(words, fmt.Sprintf("%s (since %s)", p.Name, p.CreationTimestamp.UTC().Format(time.RFC3339)))
	}
	slices.Sort(words)
	return "the NetworkPolicies over the Vault pods are " + strings.Join(words, ", "), nil
}

// taker names what would take a pod with these labels for a Vault pod; empty if nothing
// does.
func (s surroundings) taker(pod labels.Set) string {
	if s.own.Matches(pod) {
		return "the StatefulSet"
	}
	for _, service := range s.services {
		// The active label is Vault's to set.
		selector := labels.Set(maps.Clone(service.Spec.Selector))
		delete(selector, target.ActiveLabel)
		if len(selector) > 0 && labels.SelectorFromSet(selector).Matches(pod) {
			return "Service " + service.Name
		}
	}
	for _, b := range s.budgets {
		if selector, err := metav1.LabelSelectorAsSelector(b.Spec.Selector); err == nil && selector.Matches(pod) {
			return "PodDisruptionBudget " + b.Name
		}
	}
	return ""
}

// standIn finds labels with which a pod of ours is under the same network policies as
// the Vault pods, and yet is never served, counted or adopted as one of them: those of
// the template without one.
func (s surroundings) standIn(vault labels.Set) (labels.Set, error) {
	want, err := s.over(vault)
	if err != nil {
		return nil, err
	}
	keys := slices.Sorted(maps.Keys(vault))
	slices.SortStableFunc(keys, func(a, b string) int { // the usual one first
		return rank(a) - rank(b)
	})
	var why []string
	for _, key := range keys {
		candidate := maps.Clone(vault)
		delete(candidate, key)
		if taker := s.taker(candidate); taker != "" {
			why = append(why, fmt.Sprintf("without %s it would still be taken by %s", key, taker))
			continue
		}
		got, err := s.over(candidate)
		if err != nil {
			return nil, err
		}
		if !sameNames(got, want) {
			why = append(why, fmt.Sprintf("without %s other NetworkPolicies apply to it", key))
			continue
		}
		return candidate, nil
	}
	if len(why) == 0 {
		return nil, errors.New("no pod can stand in for a Vault pod: these bear no labels")
	}
	return nil, fmt.Errorf("no pod can stand in for a Vault pod: %s", strings.Join(why, "; "))
}

func rank(key string) int {
	if key == instanceLabel {
		return 0
	}
	return 1
}

func sameNames(a, b []networkingv1.NetworkPolicy) bool {
	return slices.EqualFunc(a, b, func(x, y networkingv1.NetworkPolicy) bool { return x.Name == y.Name })
}
