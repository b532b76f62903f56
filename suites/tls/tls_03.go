package tls

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"

	"github.com/onsi/ginkgo/v2"

	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/target"
)

var tls03 = conformance.Check{
	ID: "TLS-03", Area: area, Level: conformance.Must, Manner: conformance.Reads,
	Assertion: "without Vault's public name in the handshake the ingress shows neither Vault's certificate nor its content",
	Source:    "Traefik, kubernetesIngressNGINX provider: what matches no passthrough router falls through to the HTTP routers",
	Observe:   "TLS handshakes without a server name and with other names through every pod of the ingress controller, and a request with Vault's public host in each that comes about",
}

var _ = conformance.It(tls03, conformance.Conformance, func(ctx ginkgo.SpecContext, r *conformance.Case) error {
	doors, err := doorsTo(ctx, r)
	if err != nil {
		return err
	}
	active, err := r.Target.Active(ctx)
	if err != nil {
		return r.CannotTell(err)
	}
	var own *x509.Certificate // none where TLS is off; there is content to be seen all the same
	if !r.Target.Plaintext {
		if own, err = leafOf(ctx, toPod(r.Target, active.Pod.Name, target.VaultPort), r.Target.ServerName); err != nil {
			return r.CannotTell(fmt.Errorf("TLS with the active pod: %w", err))
		}
	}
	refused := 0
	for _, d := range doors.open {
		if d.Host == "" {
			return fmt.Errorf("%s leads to Vault whatever the name in the handshake, want its public host only", d.Object)
		}
		for _, e := range d.Entries {
			for _, name := range strangers(d.Name(), r.Target) {
				seen, err := showsTo(ctx, e.DialTLS, name, d.Name())
				if isUnreachable(err) {
					return r.CannotTell(err)
				}
				if seen.leaf == nil {
					refused++
				}
				if err := nothingOfVault(name, seen, own); err != nil {
					return fmt.Errorf("%s: %w", through(d, e), err)
				}
			}
		}
	}
	r.Measure("refused_handshakes_total", float64(refused))
	return r.CannotTell(doors.all())
})

// strangers are names by which nobody should get at Vault from outside. A wildcard is for
// one label alone.
func strangers(host string, t *target.Target) []string {
	return []string{"", "unknown.invalid", "x." + host, "localhost", t.ServerName}
}

// shown is what somebody saw who gave a name in the handshake, and then asked for Vault by
// its host.
type shown struct {
	leaf   *x509.Certificate // nil if the handshake was refused
	answer answer
}

// showsTo looks with a name in the handshake. A refused handshake shows nothing; an error
// is one of the connection.
func showsTo(ctx context.Context, to dial, name, host string) (shown, error) {
	var seen shown
	_, err := greet(ctx, to, unverified(name), func(conn *tls.Conn) error {
		seen.leaf = conn.ConnectionState().PeerCertificates[0]
		var err error
		seen.answer, err = ask(conn, "GET /v1/sys/health HTTP/1.1\r\nHost: "+host+"\r\nConnection: close\r\n\r\n")
		return err
	})
	if isUnreachable(err) {
		return seen, err
	}
	return seen, nil
}

// nothingOfVault judges what was seen.
func nothingOfVault(name string, seen shown, own *x509.Certificate) error {
	switch {
	case seen.leaf == nil:
		return nil
	case seen.leaf.Equal(own):
		return fmt.Errorf("a handshake for %q shows Vault's own certificate %s, want it for Vault's public host only", name, fingerprint(own))
	case seen.answer.ofVault():
		return fmt.Errorf("a handshake for %q and a request for Vault's host in it is answered by Vault with status %d, want no content of Vault over another certificate (%s of %q)",
			name, seen.answer.status, fingerprint(seen.leaf), seen.leaf.Subject.CommonName)
	}
	return nil
}
