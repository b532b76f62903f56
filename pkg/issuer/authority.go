package issuer

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"time"
)

// Keypair returns the root with its key, to be kept until the next certificate is due.
// It is as sensitive as a certificate's own key, for longer.
func (c *CA) Keypair() (Keypair, error) {
	key, err := encodeKey(c.key)
	if err != nil {
		return Keypair{}, fmt.Errorf("encoding the key of the root %q: %w", c.cert.Subject.CommonName, err)
	}
	return Keypair{Cert: c.pem, Key: key, CA: c.pem}, nil
}

// LoadCA takes up a root that Keypair, or another issuer, has written. The error says why
// it can sign nothing: its key does not fit, or it is no authority.
func LoadCA(pair Keypair) (*CA, error) {
	loaded, err := tls.X509KeyPair(pair.Cert, pair.Key)
	if err != nil {
		return nil, fmt.Errorf("reading the root and its key: %w", err)
	}
	key, ok := loaded.PrivateKey.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("the key of the root is a %T, which cannot sign", loaded.PrivateKey)
	}
	root := loaded.Leaf
	if !root.IsCA || root.KeyUsage&x509.KeyUsageCertSign == 0 {
		return nil, fmt.Errorf("the certificate %q is no authority", root.Subject.CommonName)
	}
	return &CA{cert: root, key: key, pem: encode("CERTIFICATE", root.Raw)}, nil
}

// NotAfter is when the root expires.
func (c *CA) NotAfter() time.Time { return c.cert.NotAfter }

// Trusted tells whether the root is one of a PEM bundle.
func (c *CA) Trusted(bundle []byte) bool {
	for _, cert := range certificates(bundle) {
		if cert.Equal(c.cert) {
			return true
		}
	}
	return false
}

// Renew signs a new certificate, with a new key, for the names and the length of life of
// the current one.
func (c *CA) Renew(current Keypair) (Keypair, error) {
	leaf, err := Leaf(current.Cert)
	if err != nil {
		return Keypair{}, err
	}
	names := append([]string(nil), leaf.DNSNames...)
	for _, ip := range leaf.IPAddresses {
		names = append(names, ip.String())
	}
	return c.Server(leaf.Subject.CommonName, names, leaf.NotAfter.Sub(leaf.NotBefore)-skew)
}

// Announce makes it known that another root will sign the next certificate: current stays
// in use, the new root is trusted beside the old ones, and it is appended to the chain
// that the server shows, so that one can see from outside which server has heard of it.
func (c *CA) Announce(current Keypair, at time.Time) Keypair {
	announced := Keypair{Cert: current.Cert, Key: current.Key, CA: Bundle(at, c.pem, current.CA)}
	if !c.Trusted(current.Cert) {
		announced.Cert = append(append([]byte(nil), current.Cert...), c.pem...)
	}
	return announced
}

// Leaf is the first certificate of a PEM chain.
func Leaf(chain []byte) (*x509.Certificate, error) {
	all := certificates(chain)
	if len(all) == 0 {
		return nil, errors.New("there is no certificate in it")
	}
	return all[0], nil
}
