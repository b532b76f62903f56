// Package vault speaks to the one Vault process that shares a pod with the
// sidecar: over TLS verified against the cluster's own CA, on loopback, on one
// kept-alive connection, without retries and without following redirects.
// Shares of the seal go through here and nowhere else, so a client for an
// address outside the pod cannot even be built.
package vault

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/hashicorp/vault/api"
)

const (
	// pollTimeout bounds the cheap status calls. Vault answers them in about a
	// millisecond; they only take longer while it holds its state lock, as it
	// does in a raft join.
	pollTimeout = 2 * time.Second
	// initTimeout bounds sys/init. It is generous because giving up on an
	// answer that was on its way would throw the only copy of the keys away.
	initTimeout = 2 * time.Minute
	// callTimeout bounds every other call.
	callTimeout = 15 * time.Second
)

// Client reaches the Vault of the sidecar's own pod.
type Client struct {
	api *api.Client
	at  endpoint
}

// endpoint is where a Vault listens, and how it proves that it is the right one.
type endpoint struct {
	addr, caFile, serverName string
}

// New builds a client for addr (https, loopback), which must present a
// certificate for serverName signed by the CA in caFile (PEM). The CA file is
// read again for every new connection, so that a renewed CA is picked up.
func New(addr, caFile, serverName string) (*Client, error) {
	if err := ownPod(addr); err != nil {
		return nil, err
	}
	return endpoint{addr, caFile, serverName}.client(true)
}

// Fresh is a client of the same Vault with a connection of its own for each question:
// one that is kept goes on under the certificate that it began with.
func (c *Client) Fresh() (*Client, error) { return c.at.client(false) }

// NewPeer builds a client for another Vault pod, for questions about its state
// only (see Initialised).
func NewPeer(addr, caFile string) (*Client, error) {
	u, err := url.Parse(addr)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" {
		return nil, fmt.Errorf("peer address %q is not of the form https://host:port: mend -peers", addr)
	}
	return endpoint{addr, caFile, u.Hostname()}.client(true)
}

func (e endpoint) client(keepAlive bool) (*Client, error) {
	transport := &http.Transport{
		DisableKeepAlives:   !keepAlive,
		MaxIdleConns:        1,
		MaxIdleConnsPerHost: 1,
		IdleConnTimeout:     90 * time.Second,
		DialTLSContext: func(ctx context.Context, _, address string) (net.Conn, error) {
			conn, err := e.dial(ctx, address)
			if err != nil {
				return nil, err // not a nil *tls.Conn in an interface
			}
			return conn, nil
		},
	}
	client, err := api.NewClient(&api.Config{
		Address: e.addr,
		HttpClient: &http.Client{
			Transport: transport,
			// The client of net/http would take a share along to wherever it is sent.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		Timeout:          initTimeout,
		MaxRetries:       0,
		DisableRedirects: true,
	})
	if err != nil {
		return nil, fmt.Errorf("building a client for Vault at %s: %w", e.addr, err)
	}
	client.ClearToken()
	client.ClearNamespace()
	return &Client{api: client, at: e}, nil
}

// dial connects to address, host:port, and proves that the right Vault is there.
func (e endpoint) dial(ctx context.Context, address string) (*tls.Conn, error) {
	d := &net.Dialer{Timeout: pollTimeout, KeepAlive: 15 * time.Second}
	raw, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	conn, err := e.handshake(ctx, raw)
	if err != nil {
		raw.Close()
		return nil, err
	}
	return conn, nil
}

func (e endpoint) handshake(ctx context.Context, raw net.Conn) (*tls.Conn, error) {
	pem, err := os.ReadFile(e.caFile)
	if err != nil {
		return nil, fmt.Errorf("reading Vault's CA: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("no certificate in Vault's CA file %s", e.caFile)
	}
	conn := tls.Client(raw, &tls.Config{RootCAs: pool, ServerName: e.serverName, MinVersion: tls.VersionTLS12})
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, fmt.Errorf("TLS with Vault as %q, checked against %s: %w", e.serverName, e.caFile, err)
	}
	return conn, nil
}

// Certificate is the one that Vault serves now, over a connection made for it. One that
// does not verify, or has lapsed, is an error.
func (c *Client) Certificate(ctx context.Context) (*x509.Certificate, error) {
	u, err := url.Parse(c.at.addr)
	if err != nil {
		return nil, fmt.Errorf("parsing Vault's address: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, pollTimeout)
	defer cancel()
	conn, err := c.at.dial(ctx, u.Host)
	if err != nil {
		return nil, fmt.Errorf("looking at Vault's certificate: %w", err)
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0], nil
}

// ownPod refuses every address that could lead out of the pod or be read on
// the way.
func ownPod(addr string) error {
	u, err := url.Parse(addr)
	if err != nil {
		return fmt.Errorf("vault address %q is no URL, set -vault-addr to https://127.0.0.1:8200: %w", addr, err)
	}
	if u.Scheme != "https" {
		return fmt.Errorf("vault address %q is not https: shares of the seal only go over TLS; set -vault-addr to https://127.0.0.1:8200", addr)
	}
	if ip := net.ParseIP(u.Hostname()); u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return fmt.Errorf("vault address %q is outside this pod: shares only go to the Vault beside the sidecar; set -vault-addr to https://127.0.0.1:8200", addr)
	}
	return nil
}

// As returns Vault's API client speaking with the token.
func (c *Client) As(token []byte) (*api.Client, error) {
	clone, err := c.api.Clone()
	if err != nil {
		return nil, fmt.Errorf("copying the client of Vault: %w", err)
	}
	clone.SetClientTimeout(callTimeout)
	clone.SetToken(string(token))
	return clone, nil
}

// Denied tells whether err is Vault's 403: the token is dead or may not do this.
func Denied(err error) bool { return status(err) == http.StatusForbidden }

// NotFound tells whether err is Vault's 404.
func NotFound(err error) bool { return status(err) == http.StatusNotFound }

func status(err error) int {
	var re *api.ResponseError
	if errors.As(err, &re) {
		return re.StatusCode
	}
	return 0
}

// Invalid tells whether err is Vault's 400: it understood and did not accept.
func Invalid(err error) bool { return status(err) == http.StatusBadRequest }
