package stack

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"

	"github.com/vaultproof/vaultproof/pkg/issuer"
	"github.com/vaultproof/vaultproof/pkg/target"
)

// ErrNoRenewal means that nobody here can sign a certificate that Vault's clients trust.
var ErrNoRenewal = errors.New("the server certificate cannot be renewed from here")

// syncAnnotation on a pod is changed to make its kubelet look at the pod's volumes at once,
// instead of within a minute or two.
const syncAnnotation = "vaultproof.dev/certificate-sync"

// RenewCertificate replaces the server certificate of a Vault by a new one that its clients
// trust already: with the root kept beside it, or through cert-manager. It returns the new
// certificate, which the pods do not serve yet; see HastenCertificate. Where neither is to
// be had, the error wraps ErrNoRenewal.
func RenewCertificate(ctx context.Context, t *target.Target) (*x509.Certificate, error) {
	secret, err := servingSecret(ctx, t)
	if err != nil {
		return nil, err
	}
	if name := secret.Annotations[certManagerName]; name != "" {
		return renewManaged(ctx, t, secret, name)
	}
	authority, err := readKeypair(ctx, t.Client, t.Namespace, authoritySecret)
	if err != nil {
		return nil, refusal(err)
	}
	if len(authority.Key) == 0 {
		return nil, fmt.Errorf("%w: there is neither cert-manager nor a root with its key in Secret %s/%s", ErrNoRenewal, t.Namespace, authoritySecret)
	}
	root, err := issuer.LoadCA(authority)
	if err != nil {
		return nil, fmt.Errorf("taking up the root in Secret %s/%s: %w", t.Namespace, authoritySecret, err)
	}
	current := keypairOf(secret)
	if !root.Trusted(current.CA) {
		return nil, fmt.Errorf("%w: the root in Secret %s/%s is not one that clients trust (ca.crt of Secret %s)", ErrNoRenewal, t.Namespace, authoritySecret, secret.Name)
	}
	next, err := root.Renew(current)
	if err != nil {
		return nil, fmt.Errorf("renewing the certificate in Secret %s/%s: %w", t.Namespace, secret.Name, err)
	}
	renewed := secret.DeepCopy()
	renewed.Data[corev1.TLSCertKey], renewed.Data[corev1.TLSPrivateKeyKey] = next.Cert, next.Key
	// The resource version goes along: whoever renews at the same time is told.
	if _, err := t.Client.CoreV1().Secrets(t.Namespace).Update(ctx, renewed, metav1.UpdateOptions{FieldManager: "vaultproof"}); err != nil {
		return nil, fmt.Errorf("writing the renewed certificate into Secret %s/%s: %w", t.Namespace, secret.Name, refusal(err))
	}
	return issuer.Leaf(next.Cert)
}

// HastenCertificate makes the kubelets bring the Secret to the pods now. A kubelet may look
// before it has heard of the new Secret, so repeat this while a pod serves the old one.
func HastenCertificate(ctx context.Context, t *target.Target) error {
	pods, err := t.Pods(ctx)
	if err != nil {
		return err
	}
	patch := fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%q}}}`, syncAnnotation, time.Now().UTC().Format(time.RFC3339Nano))
	for _, pod := range pods {
		_, err := t.Client.CoreV1().Pods(t.Namespace).Patch(ctx, pod.Name, types.MergePatchType, patch, metav1.PatchOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("annotating pod %s/%s: %w", t.Namespace, pod.Name, err)
		}
	}
	return nil
}

// servingSecret is the one whose certificate Vault's container mounts.
func servingSecret(ctx context.Context, t *target.Target) (*corev1.Secret, error) {
	template, err := t.Template(ctx)
	if err != nil {
		return nil, err
	}
	for _, name := range mountedSecrets(template.Spec, t.Container) {
		secret, err := t.Client.CoreV1().Secrets(t.Namespace).Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return nil, refusal(fmt.Errorf("reading Secret %s/%s: %w", t.Namespace, name, err))
		}
		if len(secret.Data[corev1.TLSCertKey]) > 0 && len(secret.Data[corev1.TLSPrivateKeyKey]) > 0 {
			return secret, nil
		}
	}
	return nil, fmt.Errorf("%w: no Secret that container %s mounts holds tls.crt and tls.key", ErrNoRenewal, t.Container)
}

// mountedSecrets names the Secrets that a container mounts.
func mountedSecrets(spec corev1.PodSpec, container string) []string {
	mounted := map[string]bool{}
	for _, c := range spec.Containers {
		if c.Name == container {
			for _, m := range c.VolumeMounts {
				mounted[m.Name] = true
			}
		}
	}
	var names []string
	for _, v := range spec.Volumes {
		switch {
		case !mounted[v.Name]:
		case v.Secret != nil:
			names = append(names, v.Secret.SecretName)
		case v.Projected != nil:
			for _, s := range v.Projected.Sources {
				if s.Secret != nil {
					names = append(names, s.Secret.Name)
				}
			}
		}
	}
	return names
}

// renewManaged asks cert-manager, as its own command line does, and waits for the Secret.
func renewManaged(ctx context.Context, t *target.Target, secret *corev1.Secret, name string) (*x509.Certificate, error) {
	dyn, err := dynamic.NewForConfig(t.Config)
	if err != nil {
		return nil, fmt.Errorf("making a client for cert-manager: %w", err)
	}
	certificates := dyn.Resource(schema.GroupVersionResource{Group: "cert-manager.io", Version: "v1", Resource: "certificates"}).Namespace(t.Namespace)
	certificate, err := certificates.Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, refusal(fmt.Errorf("reading Certificate %s/%s: %w", t.Namespace, name, err))
	}
	if err := issuing(certificate); err != nil {
		return nil, err
	}
	if _, err := certificates.UpdateStatus(ctx, certificate, metav1.UpdateOptions{FieldManager: "vaultproof"}); err != nil {
		return nil, refusal(fmt.Errorf("asking for a renewal of Certificate %s/%s: %w", t.Namespace, name, err))
	}
	ctx, cancel := context.WithTimeout(ctx, issueTimeout)
	defer cancel()
	var leaf *x509.Certificate
	err = wait.PollUntilContextCancel(ctx, issuePoll, true, func(ctx context.Context) (bool, error) {
		now, err := t.Client.CoreV1().Secrets(t.Namespace).Get(ctx, secret.Name, metav1.GetOptions{})
		if err != nil || string(now.Data[corev1.TLSCertKey]) == string(secret.Data[corev1.TLSCertKey]) {
			return false, nil // the deadline decides
		}
		leaf, err = issuer.Leaf(now.Data[corev1.TLSCertKey])
		return err == nil, nil
	})
	if err != nil {
		return nil, fmt.Errorf("cert-manager did not renew Certificate %s/%s within %s: %w", t.Namespace, name, issueTimeout, err)
	}
	return leaf, nil
}

// issuing sets the condition by which cert-manager is asked for a renewal.
func issuing(certificate *unstructured.Unstructured) error {
	old, _, _ := unstructured.NestedSlice(certificate.Object, "status", "conditions")
	conditions := []any{map[string]any{
		"type": "Issuing", "status": "True", "reason": "ManuallyTriggered", "message": "renewal asked for by vaultproof",
		"lastTransitionTime": time.Now().UTC().Format(time.RFC3339), "observedGeneration": certificate.GetGeneration(),
	}}
	for _, condition := range old {
		if c, ok := condition.(map[string]any); ok && c["type"] != "Issuing" {
			conditions = append(conditions, c)
		}
	}
	if err := unstructured.SetNestedSlice(certificate.Object, conditions, "status", "conditions"); err != nil {
		return fmt.Errorf("asking for a renewal of Certificate %s: %w", certificate.GetName(), err)
	}
	return nil
}

// refusal makes a missing right one more reason why nothing can be renewed from here.
func refusal(err error) error {
	if apierrors.IsForbidden(err) {
		return fmt.Errorf("%w: %w", ErrNoRenewal, err)
	}
	return err
}
