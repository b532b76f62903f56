package issuer

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/tls"
	"crypto/x509"
	"net"
	"strings"
	"testing"
	"time"
)

var names = []string{"localhost", "127.0.0.1", "vault-active.vault.svc", "*.vault-internal", "*.vault-internal.vault.svc.cluster.local"}

func pair(t *testing.T, validFor time.Duration, names ...string) Keypair {
	t.Helper()
	ca, err := NewCA("test root", 10*365*24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	p, err := ca.Server("vault", names, validFor)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestServerCertificate(t *testing.T) {
	p := pair(t, 24*time.Hour, names...)
	if err := Verify(p, names, time.Now()); err != nil {
		t.Fatal(err)
	}
	loaded, err := tls.X509KeyPair(p.Cert, p.Key)
	if err != nil {
		t.Fatal(err)
	}
	key, ok := loaded.PrivateKey.(*ecdsa.PrivateKey)
	if !ok || key.Curve != elliptic.P256() {
		t.Errorf("key is %T, want ECDSA P-256", loaded.PrivateKey)
	}
	if loaded.Leaf.IsCA {
		t.Error("the server certificate is an authority")
	}
	if err := loaded.Leaf.VerifyHostname("vault-2.vault-internal"); err != nil {
		t.Error(err)
	}
}

func TestVerifyRefuses(t *testing.T) {
	good, other := pair(t, 24*time.Hour, names...), pair(t, 24*time.Hour, names...)
	mixed := func(cert, key, ca []byte) Keypair { return Keypair{Cert: cert, Key: key, CA: ca} }
	for name, c := range map[string]struct {
		pair  Keypair
		names []string
		at    time.Time
		want  string
	}{
		"another root":     {mixed(good.Cert, good.Key, other.CA), names, time.Now(), "does not verify"},
		"another key":      {mixed(good.Cert, other.Key, good.CA), names, time.Now(), "certificate and its key"},
		"no root":          {mixed(good.Cert, good.Key, nil), names, time.Now(), "no certificate"},
		"not PEM":          {mixed([]byte("x"), good.Key, good.CA), names, time.Now(), "certificate and its key"},
		"expires too soon": {good, names, time.Now().Add(30 * 24 * time.Hour), "valid until"},
		"missing name":     {good, []string{"vault.example.org"}, time.Now(), "not for vault.example.org"},
		"missing wildcard": {good, []string{"*.vault-other"}, time.Now(), "not for *.vault-other"},
		"missing address":  {good, []string{"10.0.0.1"}, time.Now(), "not for 10.0.0.1"},
	} {
		err := Verify(c.pair, c.names, c.at)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
}

func TestServerNeverOutlivesRoot(t *testing.T) {
	ca, err := NewCA("short root", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	p, err := ca.Server("vault", names, 24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	loaded, err := tls.X509KeyPair(p.Cert, p.Key)
	if err != nil {
		t.Fatal(err)
	}
	if loaded.Leaf.NotAfter.After(time.Now().Add(time.Hour + time.Minute)) {
		t.Errorf("valid until %s, past its root", loaded.Leaf.NotAfter)
	}
	if _, err := ca.Server("vault", nil, time.Hour); err == nil {
		t.Error("a certificate without names was signed")
	}
}

func TestHandshake(t *testing.T) {
	p := pair(t, time.Hour, "localhost", "127.0.0.1")
	serving, err := tls.X509KeyPair(p.Cert, p.Key)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{serving}})
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func(c net.Conn) { _ = c.(*tls.Conn).Handshake(); _ = c.Close() }(conn)
		}
	}()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(p.CA)
	conn, err := tls.Dial("tcp", listener.Addr().String(), &tls.Config{RootCAs: roots})
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if _, err := tls.Dial("tcp", listener.Addr().String(), &tls.Config{RootCAs: roots, ServerName: "vault.example.org"}); err == nil {
		t.Error("a name that is not in the certificate was accepted")
	}
}

func TestBundle(t *testing.T) {
	first, second := pair(t, time.Hour, "localhost").CA, pair(t, time.Hour, "localhost").CA
	joined := Bundle(time.Now(), first, second, first, []byte("noise"))
	if got := bytes.Count(joined, []byte("BEGIN CERTIFICATE")); got != 2 {
		t.Errorf("bundle holds %d certificates, want 2", got)
	}
	if !bytes.HasPrefix(joined, first) {
		t.Error("the first certificate does not come first")
	}
	if left := Bundle(time.Now().Add(20*365*24*time.Hour), first); len(left) != 0 {
		t.Error("an expired certificate stayed in the bundle")
	}
}
