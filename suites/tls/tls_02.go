package tls

import (
	"context"
	"fmt"
	"slices"

	"github.com/onsi/ginkgo/v2"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/ingress"
	"github.com/vaultproof/vaultproof/pkg/issuer"
	"github.com/vaultproof/vaultproof/pkg/target"
)

var tls02 = conformance.Check{
	ID: "TLS-02", Area: area, Level: conformance.Must, Manner: conformance.Reads,
	Assertion: "the ingress holds no private key for Vault's public host",
	Source:    "Traefik, kubernetesIngressNGINX provider: it loads the Secret of spec.tls even for a passthrough Ingress",
	Observe:   "TLS Secrets named by the Ingress or Gateway; Secrets that the controller's pods mount, and those in the Ingress's namespace, with a certificate for the host",
}

var _ = conformance.It(tls02, conformance.Conformance, func(ctx ginkgo.SpecContext, r *conformance.Case) error {
	doors, err := doorsTo(ctx, r)
	if err != nil {
		return err
	}
	for _, d := range doors.open {
		if err := namesNoSecret(d); err != nil {
			return err
		}
		held, err := secretsNear(ctx, r.Target, d)
		if apierrors.IsForbidden(err) {
			r.Note("Secrets near %s cannot be looked at: %v", d.Object, err)
			continue
		}
		if err != nil {
			return r.CannotTell(err)
		}
		if err := noKeyFor(d, held); err != nil {
			return err
		}
		reads, err := mayReadKeys(ctx, r.Target, d)
		if err != nil {
			return r.CannotTell(err)
		}
		if reads != "" {
			r.Note("%s may list the Secrets of namespace %s, so Vault's private key is within its reach: let it watch its own namespace alone", reads, r.Target.Namespace)
		}
	}
	return r.CannotTell(doors.all())
})

// namesNoSecret judges what the door's object asks its controller to load.
func namesNoSecret(d ingress.Door) error {
	if len(d.Secrets) == 0 {
		return nil
	}
	return fmt.Errorf("%s names Secret %s for host %q, so that its controller loads a private key for Vault's public name, want no TLS section: TLS ends in the Vault pod", d.Object, d.Secrets[0], d.Host)
}

// held is a Secret, and who has it.
type held struct {
	by     string
	secret corev1.Secret
}

// secretsNear are those that the controller's pods mount, and those in the namespace of
// the door, unless that is Vault's own.
func secretsNear(ctx context.Context, t *target.Target, d ingress.Door) ([]held, error) {
	var near []held
	for _, pod := range d.Pods {
		for _, name := range secretVolumes(pod.Spec) {
			secret, err := t.Client.CoreV1().Secrets(pod.Namespace).Get(ctx, name, metav1.GetOptions{})
			if apierrors.IsNotFound(err) {
				continue
			}
			if err != nil {
				return nil, fmt.Errorf("reading Secret %s/%s, which pod %s mounts: %w", pod.Namespace, name, pod.Name, err)
			}
			near = append(near, held{by: "pod " + pod.Namespace + "/" + pod.Name + " mounts", secret: *secret})
		}
	}
	if d.Namespace == t.Namespace || d.Namespace == "" { // the target file knows of no namespace
		return near, nil
	}
	list, err := t.Client.CoreV1().Secrets(d.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("listing the Secrets beside %s: %w", d.Object, err)
	}
	for _, s := range list.Items {
		near = append(near, held{by: "beside " + d.Object + " there is", secret: s})
	}
	return near, nil
}

func secretVolumes(spec corev1.PodSpec) []string {
	var names []string
	for _, v := range spec.Volumes {
		if v.Secret != nil {
			names = append(names, v.Secret.SecretName)
		}
		if v.Projected != nil {
			for _, s := range v.Projected.Sources {
				if s.Secret != nil {
					names = append(names, s.Secret.Name)
				}
			}
		}
	}
	return names
}

// noKeyFor judges Secrets: none may hold a private key with a certificate for the host.
func noKeyFor(d ingress.Door, near []held) error {
	for _, h := range near {
		leaf, err := issuer.Leaf(h.secret.Data[corev1.TLSCertKey])
		if err != nil || len(h.secret.Data[corev1.TLSPrivateKeyKey]) == 0 || d.Host == "" {
			continue
		}
		if leaf.VerifyHostname(d.Name()) == nil {
			return fmt.Errorf("%s Secret %s/%s with a private key and a certificate (%s) for %s, want none at the ingress: whoever has it can terminate TLS unnoticed",
				h.by, h.secret.Namespace, h.secret.Name, fingerprint(leaf), d.Host)
		}
	}
	return nil
}

// mayReadKeys names the controller's service account if it may list Vault's Secrets; empty
// if it may not.
func mayReadKeys(ctx context.Context, t *target.Target, d ingress.Door) (string, error) {
	var seen []string
	for _, pod := range d.Pods {
		account := "system:serviceaccount:" + pod.Namespace + ":" + pod.Spec.ServiceAccountName
		if slices.Contains(seen, account) {
			continue
		}
		seen = append(seen, account)
		review, err := t.Client.AuthorizationV1().SubjectAccessReviews().Create(ctx, &authorizationv1.SubjectAccessReview{
			Spec: authorizationv1.SubjectAccessReviewSpec{User: account, ResourceAttributes: &authorizationv1.ResourceAttributes{
				Namespace: t.Namespace, Verb: "list", Resource: "secrets",
			}},
		}, metav1.CreateOptions{})
		if apierrors.IsForbidden(err) {
			return "", nil // a remark only
		}
		if err != nil {
			return "", fmt.Errorf("asking what %s may read: %w", account, err)
		}
		if review.Status.Allowed {
			return account, nil
		}
	}
	return "", nil
}
