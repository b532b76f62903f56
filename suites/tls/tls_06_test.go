package tls

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// rsaCertificate is one that ciphers of the last century can be used with.
func rsaCertificate(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "old"}, NotBefore: time.Now(), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"vault"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func serverWith(t *testing.T, config *tls.Config) dial {
	t.Helper()
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.TLS = config
	server.Config.ErrorLog = quiet()
	server.StartTLS()
	t.Cleanup(server.Close)
	return to(server.Listener.Addr().String())
}

func TestModernTLS(t *testing.T) {
	good, _ := certified(t, time.Hour, "vault")
	old := rsaCertificate(t)
	for name, c := range map[string]struct {
		config *tls.Config
		want   string
	}{
		"as Vault does by default": {&tls.Config{Certificates: []tls.Certificate{good}, MinVersion: tls.VersionTLS12}, ""},
		"1.3 only":                 {&tls.Config{Certificates: []tls.Certificate{good}, MinVersion: tls.VersionTLS13}, ""},
		"1.0 too":                  {&tls.Config{Certificates: []tls.Certificate{good}, MinVersion: tls.VersionTLS10}, "accepts TLS 1.0"},
		"1.1 too":                  {&tls.Config{Certificates: []tls.Certificate{good}, MinVersion: tls.VersionTLS11}, "accepts TLS 1.1"},
		"no 1.3":                   {&tls.Config{Certificates: []tls.Certificate{good}, MinVersion: tls.VersionTLS12, MaxVersion: tls.VersionTLS12}, "refuses TLS 1.3"},
		"no forward secrecy": {&tls.Config{Certificates: []tls.Certificate{old}, MinVersion: tls.VersionTLS12,
			CipherSuites: []uint16{tls.TLS_RSA_WITH_AES_128_CBC_SHA, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}}, "accepts the cipher TLS_RSA_WITH_AES_128_CBC_SHA"},
		"triple DES": {&tls.Config{Certificates: []tls.Certificate{old}, MinVersion: tls.VersionTLS12,
			CipherSuites: []uint16{tls.TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}}, "3DES"},
	} {
		m, err := shake(t.Context(), serverWith(t, c.config), "vault")
		if err != nil {
			t.Fatal(err)
		}
		says(t, name, modern("vault-0", m), c.want)
	}
	says(t, "nothing at all", modern("vault-0", matrix{versions: map[uint16]bool{}}), "speaks neither")
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	if _, err := shake(t.Context(), to(closed.Addr().String()), "vault"); !isUnreachable(err) {
		t.Errorf("nobody listens: %v", err)
	}
	if key, ok := good.PrivateKey.(*ecdsa.PrivateKey); !ok || key.Curve != elliptic.P256() {
		t.Errorf("the key is a %T", good.PrivateKey)
	}
}
