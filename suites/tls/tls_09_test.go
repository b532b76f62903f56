package tls

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"testing"
	"time"
)

// clusterServer speaks TLS as Vault's cluster port does: only clients with a certificate
// of the right CA that name a known protocol get anywhere.
func clusterServer(t *testing.T, edit func(*tls.Config)) dial {
	t.Helper()
	certificate, pair := certified(t, time.Hour, "localhost")
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pair.CA)
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	config.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		for _, protocol := range hello.SupportedProtos {
			if protocol == raftALPN || protocol == forwardingALPN {
				return &tls.Config{Certificates: []tls.Certificate{certificate}, NextProtos: []string{protocol}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool}, nil
			}
		}
		return nil, errors.New("unknown protocol")
	}
	if edit != nil {
		config.Certificates = []tls.Certificate{certificate}
		edit(config)
	}
	listener, err := tls.Listen("tcp", "127.0.0.1:0", config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go hold(listener)
	return to(listener.Addr().String())
}

// hold keeps the connections that come about, and says nothing.
func hold(listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			_, _ = io.Copy(io.Discard, conn)
		}()
	}
}

func plainServer(t *testing.T) dial {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\nhello")
			_ = conn.Close()
		}
	}()
	return to(listener.Addr().String())
}

func TestIntrudersAreKeptOut(t *testing.T) {
	stranger, err := strangerCertificate()
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		at   dial
		want string
	}{
		"as Vault does":         {clusterServer(t, nil), ""},
		"asks for no client":    {clusterServer(t, func(c *tls.Config) { c.GetConfigForClient = nil }), "accepted TLS without a protocol"},
		"takes any certificate": {clusterServer(t, func(c *tls.Config) { c.GetConfigForClient, c.ClientAuth = nil, tls.RequireAnyClientCert }), "accepted TLS with an unknown protocol"},
		"1.2, any certificate": {clusterServer(t, func(c *tls.Config) {
			c.GetConfigForClient, c.ClientAuth, c.MaxVersion = nil, tls.RequireAnyClientCert, tls.VersionTLS12
		}), "accepted TLS with an unknown protocol"},
		"does not verify the CA": {clusterServer(t, func(c *tls.Config) {
			c.GetConfigForClient, c.ClientAuth, c.NextProtos = nil, tls.RequireAnyClientCert, []string{raftALPN}
		}), "accepted"},
		"speaks in clear": {plainServer(t), "with status 200"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var failed error
			for _, attempt := range intrusions(stranger) {
				got, err := attempt.try(t.Context(), c.at)
				if err != nil {
					t.Fatalf("%s: %v", attempt.what, err)
				}
				if failed = keptOut("vault-0", attempt.what, got); failed != nil {
					break
				}
			}
			says(t, name, failed, c.want)
		})
	}
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	for _, attempt := range intrusions(stranger) {
		if _, err := attempt.try(t.Context(), to(closed.Addr().String())); err == nil {
			t.Errorf("%s: nobody listens, and that passes", attempt.what)
		}
	}
}
