package tls

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"

	"github.com/onsi/ginkgo/v2"

	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/target"
)

var tls06 = conformance.Check{
	ID: "TLS-06", Area: area, Level: conformance.Must, Manner: conformance.Reads,
	Assertion: "every pod speaks TLS 1.2 or newer, offers 1.3, and refuses ciphers without forward secrecy or with known weaknesses",
	Source:    "HashiCorp production hardening, end-to-end TLS; RFC 8996; RFC 9325",
	Observe:   "handshakes with each pod that offer one version of TLS, and in TLS 1.2 only the ciphers that crypto/tls counts as insecure",
}

var _ = conformance.It(tls06, conformance.Conformance, func(ctx ginkgo.SpecContext, r *conformance.Case) error {
	if err := offHere(r.Target, "there is no version of it to judge"); err != nil {
		return err
	}
	pods, err := r.Target.Pods(ctx)
	if err != nil {
		return r.CannotTell(err)
	}
	if len(pods) == 0 {
		return errors.New("there is no Vault pod")
	}
	for _, pod := range pods {
		m, err := shake(ctx, toPod(r.Target, pod.Name, target.VaultPort), r.Target.ServerName)
		if err != nil {
			return r.CannotTell(fmt.Errorf("TLS with pod %s: %w", pod.Name, err))
		}
		if err := modern(pod.Name, m); err != nil {
			return err
		}
	}
	return nil
})

// matrix is what a server agreed to.
type matrix struct {
	versions map[uint16]bool
	// weak is a cipher that it accepted of those that it should not, 0 if none.
	weak uint16
}

var allVersions = []uint16{tls.VersionTLS10, tls.VersionTLS11, tls.VersionTLS12, tls.VersionTLS13}

// shake offers one thing after the other. The error is one of the connection; a refused
// handshake is an answer.
func shake(ctx context.Context, to dial, name string) (matrix, error) {
	m := matrix{versions: map[uint16]bool{}}
	for _, version := range allVersions {
		config := unverified(name)
		config.MinVersion, config.MaxVersion = version, version
		_, err := greet(ctx, to, config, nil)
		if isUnreachable(err) {
			return m, err
		}
		m.versions[version] = err == nil
	}
	config := unverified(name)
	config.MaxVersion = tls.VersionTLS12
	for _, suite := range tls.InsecureCipherSuites() {
		config.CipherSuites = append(config.CipherSuites, suite.ID)
	}
	state, err := greet(ctx, to, config, nil)
	if isUnreachable(err) {
		return m, err
	}
	if err == nil {
		m.weak = state.CipherSuite
	}
	return m, nil
}

// modern judges what a server agreed to.
func modern(pod string, m matrix) error {
	if !m.versions[tls.VersionTLS12] && !m.versions[tls.VersionTLS13] {
		return fmt.Errorf("pod %s speaks neither TLS 1.2 nor 1.3 on port %d", pod, target.VaultPort)
	}
	for _, version := range allVersions {
		old := version < tls.VersionTLS12
		switch {
		case old && m.versions[version]:
			return fmt.Errorf("pod %s accepts %s on port %d, want TLS 1.2 or newer (tls_min_version)", pod, tls.VersionName(version), target.VaultPort)
		case version == tls.VersionTLS13 && !m.versions[version]:
			return fmt.Errorf("pod %s refuses TLS 1.3 on port %d, want it offered (tls_max_version)", pod, target.VaultPort)
		}
	}
	if m.weak != 0 {
		return fmt.Errorf("pod %s accepts the cipher %s on port %d, want none without forward secrecy or with known weaknesses (tls_cipher_suites)", pod, tls.CipherSuiteName(m.weak), target.VaultPort)
	}
	return nil
}
