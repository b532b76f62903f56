package target

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/version"
)

// caName is the ConfigMap or Secret that holds Vault's CA under caKey.
const (
	caName = "vault-ca"
	caKey  = "ca.crt"
)

func (t *Target) findServices(ctx context.Context) error {
	set, err := t.Client.AppsV1().StatefulSets(t.Namespace).Get(ctx, t.StatefulSet, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("reading StatefulSet %s/%s: %w", t.Namespace, t.StatefulSet, err)
	}
	list, err := t.Client.CoreV1().Services(t.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("listing Services in namespace %s: %w", t.Namespace, err)
	}
	active, headless, clients := classifyServices(list.Items, set.Spec.Template.Labels, set.Spec.ServiceName)
	if active == "" {
		return fmt.Errorf("no Service in namespace %s selects the Vault pods with %s=true: clients have no address of the active Vault; create one, with service_registration \"kubernetes\" in Vault's configuration", t.Namespace, ActiveLabel)
	}
	t.ActiveService, t.HeadlessService, t.ClientServices = active, headless, clients
	return nil
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

// findCA reads the CA from ConfigMap or Secret vault-ca. A target without one
// is verified against the system's roots.
func (t *Target) findCA(ctx context.Context) error {
	cm, err := t.Client.CoreV1().ConfigMaps(t.Namespace).Get(ctx, caName, metav1.GetOptions{})
	if err == nil && cm.Data[caKey] != "" {
		t.CA = []byte(cm.Data[caKey])
		return nil
	}
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("reading ConfigMap %s/%s: %w", t.Namespace, caName, err)
	}
	secret, err := t.Client.CoreV1().Secrets(t.Namespace).Get(ctx, caName, metav1.GetOptions{})
	if err == nil {
		t.CA = secret.Data[caKey]
		return nil
	}
	if apierrors.IsNotFound(err) || apierrors.IsForbidden(err) {
		return nil
	}
	return fmt.Errorf("reading Secret %s/%s: %w", t.Namespace, caName, err)
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
