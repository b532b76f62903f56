package load

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"path"
	"sync/atomic"
	"time"

	"github.com/vaultproof/vaultproof/pkg/history"
	"github.com/vaultproof/vaultproof/pkg/probe/internal/wire"
)

// maxAnswer bounds what is read of an answer, in bytes. The longest is the list of
// a full journal.
const maxAnswer = 256 << 10

// client is a way to Vault with a pool of connections of its own.
//
// It uses HTTP/1.1 and a pool of kept-alive connections, as Vault's own client
// does under load: with HTTP/2 all operations would share one connection, and
// one blackholed connection would look like an outage of the whole service.
// A connection on which an operation ended without an answer is closed, and
// with it all idle ones: they lead, most likely, to the same dead pod, and
// each would cost another operation its timeout. The same goes after a second
// of nothing but answers of 500 and above: a pod that lost its
// leadership goes on answering on connections that it has, and a client that
// stayed with it would measure its own patience instead of the Service. The next
// operation connects anew, through the Service, and gives up on a connection
// after DialTimeout.
// One redirect is followed, as Vault's own client does: a standby that cannot
// pass a request on names the active pod instead. Which pod answered in the end
// is in the record. A client of one certain pod follows none: it would come back
// to that pod.
type client struct {
	base  *url.URL
	token string
	http  *http.Client
	pool  *http.Transport

	root           string // path of the API
	mount          string // path of the secrets engine
	data, metadata string // paths of the keys in a kv version 2 engine

	patience time.Duration
	served   atomic.Int64 // when a pod last served, ns since 1970
	emptied  atomic.Int64 // when the pool was last emptied, ns since 1970
}

// dialFunc opens connections, as net.Dialer does.
type dialFunc = func(ctx context.Context, network, address string) (net.Conn, error)

func newClient(cfg wire.Config, s wire.Stream) (*client, error) {
	base, err := url.Parse(s.Address)
	if err != nil {
		return nil, fmt.Errorf("parsing the address of Vault: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(cfg.CAPEM) {
		return nil, errors.New("reading the CA of Vault: it holds no PEM certificate")
	}
	dialer := &net.Dialer{Timeout: cfg.DialTimeout, KeepAlive: -1}
	pool := &http.Transport{
		DialContext:         dialer.DialContext,
		TLSHandshakeTimeout: cfg.Timeout,
		TLSClientConfig: &tls.Config{
			RootCAs: roots, ServerName: s.ServerName, MinVersion: tls.VersionTLS12,
			ClientSessionCache: tls.NewLRUClientSessionCache(16), // makes reconnecting cheap for Vault
			// No hybrid with ML-KEM: it doubles what a handshake costs, and after an
			// outage every client reconnects at once.
			CurvePreferences: []tls.CurveID{tls.X25519, tls.CurveP256, tls.CurveP384},
		},
		// A non-nil empty map keeps net/http from speaking HTTP/2.
		TLSNextProto:        map[string]func(string, *tls.Conn) http.RoundTripper{},
		DisableKeepAlives:   cfg.FreshConnections,
		MaxIdleConns:        s.MaxInFlight,
		MaxIdleConnsPerHost: s.MaxInFlight,
		IdleConnTimeout:     30 * time.Second,
		DisableCompression:  true,
	}
	root := path.Join("/", base.Path, "v1") + "/"
	c := &client{
		patience: patience, base: base, token: cfg.Token, pool: pool,
		http: &http.Client{Transport: pool, CheckRedirect: followOne},
		root: root, mount: path.Join(root, s.Mount),
		data:     path.Join(root, s.Mount, "data", cfg.Prefix) + "/",
		metadata: path.Join(root, s.Mount, "metadata", cfg.Prefix) + "/",
	}
	switch {
	case s.Via != "":
		pool.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, network, s.Via)
		}
	case s.Pod != "":
		c.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	}
	return c, nil
}

// methodList is Vault's own.
const methodList = "LIST"

// request is one to Vault.
type request struct {
	method string
	path   string // from the root, plain ASCII
	body   []byte // JSON
	token  string // empty means the client's
}

// answer is Vault's. A status of 0 means that no whole one came; the reply then is
// complete. Else it holds who answered.
type answer struct {
	status int
	body   []byte
	reply  reply
}

// do sends a request.
func (c *client) do(ctx context.Context, r request) answer {
	// An operation certainly had no effect if it never got a connection. From
	// then on bytes may have left, and it is in doubt.
	var connected atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { connected.Store(true) },
	})
	resp, err := c.http.Do(c.prepare(ctx, r))
	if err == nil {
		defer resp.Body.Close()
		var body []byte
		if body, err = readAll(resp); err == nil {
			c.heed(resp.StatusCode)
			return answer{status: resp.StatusCode, body: body, reply: reply{pod: resp.Header.Get("X-Vault-Hostname")}}
		}
		err = fmt.Errorf("reading the answer: %w", err)
	}
	c.emptyPool()
	outcome := history.Unknown
	if !connected.Load() || r.method == http.MethodGet || r.method == methodList {
		outcome = history.Fail
	}
	return answer{reply: reply{outcome: outcome, err: plain(err)}}
}

// prepare makes the request by hand: parsing the same URL thousands of times is
// dear.
func (c *client) prepare(ctx context.Context, r request) *http.Request {
	u := *c.base
	u.Path = r.path
	token := r.token
	if token == "" {
		token = c.token
	}
	req := &http.Request{
		Method: r.method, URL: &u, Host: u.Host, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"X-Vault-Request": {"true"}},
	}
	if token != "" { // who logs in has none yet
		req.Header["X-Vault-Token"] = []string{token}
	}
	if r.body != nil {
		body := r.body
		req.ContentLength = int64(len(body))
		req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
		req.Body = io.NopCloser(bytes.NewReader(body))
	}
	return req.WithContext(ctx)
}

// readAll reads an answer, at once if it says how long it is.
func readAll(resp *http.Response) ([]byte, error) {
	if n := resp.ContentLength; n >= 0 && n <= maxAnswer {
		body := make([]byte, n)
		_, err := io.ReadFull(resp.Body, body)
		return body, err
	}
	return io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
}

// followOne follows the first redirect if it stays encrypted: the token goes
// with it.
func followOne(next *http.Request, via []*http.Request) error {
	if len(via) > 1 || next.URL.Scheme != "https" {
		return http.ErrUseLastResponse
	}
	return nil
}

// patience is how long a client bears with pods that answer but cannot serve.
// A pod that hands leadership over is back, passing requests on, sooner than a
// new connection could find the next active one.
const patience = time.Second

// heed draws the consequence of an answer for the connections.
func (c *client) heed(status int) {
	now := time.Now().UnixNano()
	if status < http.StatusInternalServerError && status != http.StatusTemporaryRedirect {
		c.served.Store(now)
	} else if now-c.served.Load() >= int64(c.patience) {
		c.emptyPool()
	}
}

// emptyEvery is how often the pool is emptied at most: seldom enough that a
// server in trouble is not drowned in handshakes, often enough to be small
// beside every recovery budget.
const emptyEvery = 200 * time.Millisecond

// emptyPool closes the idle connections, unless that was done just now.
func (c *client) emptyPool() {
	now, last := time.Now().UnixNano(), c.emptied.Load()
	if now-last >= int64(emptyEvery) && c.emptied.CompareAndSwap(last, now) {
		c.pool.CloseIdleConnections()
	}
}
