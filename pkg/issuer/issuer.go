// Package issuer is a small certificate authority for clusters without
// cert-manager: a root and the server certificates it signs, ECDSA P-256, in the
// shape of a kubernetes.io/tls Secret with ca.crt. A root can be kept in such a Secret
// too, so that a renewed certificate is one that clients trust already.
package issuer

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"time"
)

// skew is how far a verifier's clock may be behind ours.
const skew = 5 * time.Minute

// CA is a root that signs server certificates.
type CA struct {
	cert *x509.Certificate
	key  crypto.Signer
	pem  []byte
}

// Keypair is a certificate with its key and the root that signed it, as PEM.
type Keypair struct {
	Cert, Key, CA []byte
}

// NewCA makes a root called name, good from now on for validFor.
func NewCA(name string, validFor time.Duration) (*CA, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making the key of the root %q: %w", name, err)
	}
	serial, err := serialNumber()
	if err != nil {
		return nil, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             now.Add(-skew),
		NotAfter:              now.Add(validFor),
		IsCA:                  true,
		BasicConstraintsValid: true,
		// It signs leaves only, no further authority.
		MaxPathLenZero: true,
		KeyUsage:       x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, fmt.Errorf("signing the root %q: %w", name, err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("reading back the root %q: %w", name, err)
	}
	return &CA{cert: cert, key: key, pem: encode("CERTIFICATE", der)}, nil
}

// PEM returns the root's certificate.
func (c *CA) PEM() []byte { return c.pem }

// Server signs a certificate for names, each a DNS name (a wildcard may be its first
// label) or an IP address. It never outlives the root.
func (c *CA) Server(commonName string, names []string, validFor time.Duration) (Keypair, error) {
	if len(names) == 0 {
		return Keypair{}, errors.New("a server certificate needs at least one name")
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Keypair{}, fmt.Errorf("making the key of %q: %w", commonName, err)
	}
	serial, err := serialNumber()
	if err != nil {
		return Keypair{}, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: commonName},
		NotBefore:             now.Add(-skew),
		NotAfter:              earlier(now.Add(validFor), c.cert.NotAfter),
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
			continue
		}
		template.DNSNames = append(template.DNSNames, name)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, c.cert, &key.PublicKey, c.key)
	if err != nil {
		return Keypair{}, fmt.Errorf("signing the certificate of %q: %w", commonName, err)
	}
	encoded, err := encodeKey(key)
	if err != nil {
		return Keypair{}, fmt.Errorf("encoding the key of %q: %w", commonName, err)
	}
	return Keypair{Cert: encode("CERTIFICATE", der), Key: encoded, CA: c.pem}, nil
}

// serialNumber is 128 random bits, as RFC 5280 allows and two issuers never share.
func serialNumber() (*big.Int, error) {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 128))
	if err != nil {
		return nil, fmt.Errorf("drawing a serial number: %w", err)
	}
	return n, nil
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func encodeKey(key crypto.Signer) ([]byte, error) {
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return encode("PRIVATE KEY", pkcs8), nil
}

func encode(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}
