package issuer

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Verify says why pair could not serve names until at: the key does not fit, the
// root did not sign it, it expires earlier, or a name is missing. A wildcard in
// names is tried with a label in its place.
func Verify(pair Keypair, names []string, at time.Time) error {
	loaded, err := tls.X509KeyPair(pair.Cert, pair.Key)
	if err != nil {
		return fmt.Errorf("reading the certificate and its key: %w", err)
	}
	leaf := loaded.Leaf
	if leaf == nil {
		return errors.New("the certificate could not be parsed")
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pair.CA) {
		return errors.New("ca.crt holds no certificate")
	}
	if at.After(leaf.NotAfter) {
		return fmt.Errorf("the certificate is valid until %s only", leaf.NotAfter.UTC().Format(time.RFC3339))
	}
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: at}); err != nil {
		return fmt.Errorf("the certificate does not verify against ca.crt: %w", err)
	}
	for _, name := range names {
		if err := leaf.VerifyHostname(strings.Replace(name, "*", "any", 1)); err != nil {
			return fmt.Errorf("the certificate is not for %s: %w", name, err)
		}
	}
	return nil
}

// Bundle joins the certificates of several PEM bundles, each once, in order, and
// leaves out those that have expired at the given time. Clients that trust the
// bundle accept servers on both sides of a rotation.
func Bundle(at time.Time, bundles ...[]byte) []byte {
	var joined []byte
	seen := map[string]bool{}
	for _, bundle := range bundles {
		for _, cert := range certificates(bundle) {
			if at.After(cert.NotAfter) || seen[string(cert.Raw)] {
				continue
			}
			seen[string(cert.Raw)] = true
			joined = append(joined, encode("CERTIFICATE", cert.Raw)...)
		}
	}
	return joined
}

// certificates are those in a PEM bundle; what is none is passed over.
func certificates(bundle []byte) []*x509.Certificate {
	var all []*x509.Certificate
	for {
		var block *pem.Block
		if block, bundle = pem.Decode(bundle); block == nil {
			return all
		}
		if cert, err := x509.ParseCertificate(block.Bytes); err == nil && block.Type == "CERTIFICATE" {
			all = append(all, cert)
		}
	}
}
