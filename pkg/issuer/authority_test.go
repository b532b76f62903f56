package issuer

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"strings"
	"testing"
	"time"
)

func newCA(t *testing.T) *CA {
	t.Helper()
	ca, err := NewCA("test root", 10*365*24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

func keypair(t *testing.T, ca *CA) Keypair {
	t.Helper()
	pair, err := ca.Keypair()
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

func TestARootThatWasKeptSignsWhatIsTrustedAlready(t *testing.T) {
	ca := newCA(t)
	first, err := ca.Server("vault", names, 24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	kept, err := LoadCA(keypair(t, ca))
	if err != nil {
		t.Fatal(err)
	}
	second, err := kept.Renew(first)
	if err != nil {
		t.Fatal(err)
	}
	second.CA = first.CA // what a client had before
	if err := Verify(second, names, time.Now().Add(23*time.Hour)); err != nil {
		t.Error(err)
	}
	if err := Verify(second, names, time.Now().Add(25*time.Hour)); err == nil {
		t.Error("the renewed certificate lives longer than the first")
	}
	if bytes.Equal(first.Key, second.Key) || bytes.Equal(first.Cert, second.Cert) {
		t.Error("a renewed certificate has the old key or is the old one")
	}
	if !kept.Trusted(first.CA) || kept.Trusted(newCA(t).PEM()) || !kept.NotAfter().Equal(ca.NotAfter()) {
		t.Error("the kept root is not the one that it was")
	}
}

func TestLoadCARefuses(t *testing.T) {
	ca, other := keypair(t, newCA(t)), keypair(t, newCA(t))
	server := pair(t, time.Hour, "localhost")
	for name, c := range map[string]struct {
		pair Keypair
		want string
	}{
		"another key":          {Keypair{Cert: ca.Cert, Key: other.Key}, "reading the root"},
		"nothing":              {Keypair{}, "reading the root"},
		"a server certificate": {server, "is no authority"},
	} {
		if _, err := LoadCA(c.pair); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
}

// cert-manager makes RSA roots unless told otherwise.
func TestARootOfAnotherIssuerSigns(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "RSA root"}, NotBefore: time.Now(), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	ca, err := LoadCA(Keypair{Cert: encode("CERTIFICATE", der), Key: encode("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key))})
	if err != nil {
		t.Fatal(err)
	}
	p, err := ca.Server("vault", names, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if err := Verify(p, names, time.Now()); err != nil {
		t.Error(err)
	}
	leaf, err := Leaf(p.Cert)
	if err != nil {
		t.Fatal(err)
	}
	if public, ok := leaf.PublicKey.(*ecdsa.PublicKey); !ok || public.Curve != elliptic.P256() {
		t.Errorf("the server's key is a %T", leaf.PublicKey)
	}
}

func TestAnnounce(t *testing.T) {
	current, next := pair(t, time.Hour, "localhost"), newCA(t)
	announced := next.Announce(current, time.Now())
	if err := Verify(announced, []string{"localhost"}, time.Now()); err != nil {
		t.Error(err)
	}
	if !next.Trusted(announced.CA) || !next.Trusted(announced.Cert) {
		t.Error("the next root is not announced")
	}
	before, _ := Leaf(current.Cert)
	if now, err := Leaf(announced.Cert); err != nil || !now.Equal(before) {
		t.Errorf("the certificate in use changed (%v)", err)
	}
	if again := next.Announce(announced, time.Now()); !bytes.Equal(again.Cert, announced.Cert) || !bytes.Equal(again.CA, announced.CA) {
		t.Error("a root is announced twice")
	}
	if _, err := Leaf([]byte("x")); err == nil {
		t.Error("what is no certificate has a leaf")
	}
}
