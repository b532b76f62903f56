package tls

import (
	"context"
	"crypto/x509"
	"fmt"

	"github.com/onsi/ginkgo/v2"

	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/ingress"
	"github.com/vaultproof/vaultproof/pkg/target"
)

var tls01 = conformance.Check{
	ID: "TLS-01", Area: area, Level: conformance.Must, Manner: conformance.Reads,
	Assertion: "the certificate seen through the ingress is the one that the active pod serves",
	Source:    "HashiCorp Vault on Kubernetes reference, \"load balancers should not terminate TLS\"; hashicorp/vault#17002",
	Observe:   "a TLS handshake with the public host through every pod of the controller of each Ingress and TLSRoute, and one with the active pod itself; SHA-256 of both certificates",
}

var _ = conformance.It(tls01, conformance.Conformance, func(ctx ginkgo.SpecContext, r *conformance.Case) error {
	doors, err := doorsTo(ctx, r)
	if err != nil {
		return err
	}
	if err := offHere(r.Target, "TLS through the ingress ends before Vault"); err != nil {
		return err
	}
	active, err := r.Target.Active(ctx)
	if err != nil {
		return r.CannotTell(err)
	}
	vault := toPod(r.Target, active.Pod.Name, target.VaultPort)
	looked := 0
	for _, d := range doors.open {
		for _, e := range d.Entries {
			err := sameCertificate(ctx, d, e, vault)
			if isUnreachable(err) {
				return r.CannotTell(err)
			}
			if err != nil {
				return err
			}
			looked++
		}
	}
	r.Measure("entries_total", float64(looked))
	return r.CannotTell(doors.all())
})

// sameCertificate looks through a door and at the pod behind it. A certificate that is
// being replaced may be seen on one side first, so a difference must hold.
func sameCertificate(ctx context.Context, d ingress.Door, e ingress.Entry, vault dial) error {
	var verdict error
	for range 2 {
		own, err := leafOf(ctx, vault, d.Name())
		if err != nil {
			return fmt.Errorf("TLS with the active pod as %q: %w", d.Name(), err)
		}
		seen, err := leafOf(ctx, e.DialTLS, d.Name())
		if err != nil {
			return fmt.Errorf("TLS through %s: %w, want the certificate of the active pod", through(d, e), err)
		}
		if verdict = passedThrough(d, e, seen, own); verdict == nil {
			return nil
		}
	}
	return verdict
}

// passedThrough judges the two certificates.
func passedThrough(d ingress.Door, e ingress.Entry, seen, own *x509.Certificate) error {
	if seen.Equal(own) {
		return nil
	}
	return fmt.Errorf("%s shows the certificate %s of %q, the active pod serves %s of %q: TLS is terminated before Vault, and whoever does it can read every token and secret",
		through(d, e), fingerprint(seen), seen.Subject.CommonName, fingerprint(own), own.Subject.CommonName)
}
