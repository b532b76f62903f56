package load

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/vaultproof/vaultproof/pkg/history"
	"github.com/vaultproof/vaultproof/pkg/probe/internal/wire"
)

// maxAnswer bounds what is read of an answer, in bytes.
const maxAnswer = 64 << 10

// client speaks kv version 2.
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
// is in the record.
type client struct {
	base   *url.URL
	mount  string
	prefix string
	token  string
	http   *http.Client
	pool   *http.Transport

	patience time.Duration
	served   atomic.Int64 // when a pod last served, ns since 1970
	emptied  atomic.Int64 // when the pool was last emptied, ns since 1970
}

// reply is what became of a request.
type reply struct {
	outcome history.Outcome
	version int
	value   string
	pod     string
	err     string
	// mismatch is set when Vault refused a write because of its version.
	mismatch bool
}

func newClient(cfg wire.Config) (*client, error) {
	base, err := url.Parse(cfg.Address)
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
			RootCAs: roots, ServerName: cfg.ServerName, MinVersion: tls.VersionTLS12,
			ClientSessionCache: tls.NewLRUClientSessionCache(16), // makes reconnecting cheap for Vault
		},
		// A non-nil empty map keeps net/http from speaking HTTP/2.
		TLSNextProto:        map[string]func(string, *tls.Conn) http.RoundTripper{},
		DisableKeepAlives:   cfg.FreshConnections,
		MaxIdleConns:        cfg.MaxInFlight,
		MaxIdleConnsPerHost: cfg.MaxInFlight,
		IdleConnTimeout:     30 * time.Second,
		DisableCompression:  true,
	}
	return &client{
		patience: patience,
		base:     base, mount: strings.Trim(cfg.Mount, "/"), prefix: strings.Trim(cfg.Prefix, "/"), token: cfg.Token, pool: pool,
		http: &http.Client{
			Transport:     pool,
			CheckRedirect: followOne,
		},
	}, nil
}

// write sets key to value if its version is cas.
func (c *client) write(ctx context.Context, key, value string, cas int) reply {
	body, err := json.Marshal(map[string]any{
		"options": map[string]any{"cas": cas},
		"data":    map[string]any{"value": value},
	})
	if err != nil {
		return reply{outcome: history.Fail, err: fmt.Sprintf("encoding the write: %v", err)}
	}
	status, r, answer := c.do(ctx, http.MethodPost, key, body)
	if status == 0 {
		return r
	}
	var got struct {
		Data struct {
			Version int `json:"version"`
		} `json:"data"`
	}
	switch {
	case status == http.StatusOK && json.Unmarshal(answer, &got) == nil && got.Data.Version > 0:
		r.outcome, r.version = history.OK, got.Data.Version
	case status == http.StatusOK:
		r.outcome, r.err = history.Unknown, "the answer to the write holds no version"
	default:
		r.outcome, r.err = refused(status, answer)
		r.mismatch = status == http.StatusBadRequest && strings.Contains(r.err, "check-and-set")
	}
	return r
}

// read reads key. A key that does not exist has version 0.
func (c *client) read(ctx context.Context, key string) reply {
	status, r, answer := c.do(ctx, http.MethodGet, key, nil)
	if status == 0 {
		return r
	}
	var got struct {
		Errors []string `json:"errors"`
		Data   *struct {
			Data     map[string]string `json:"data"`
			Metadata struct {
				Version int `json:"version"`
			} `json:"metadata"`
		} `json:"data"`
	}
	err := json.Unmarshal(answer, &got)
	switch {
	case status == http.StatusOK && err == nil && got.Data != nil && got.Data.Metadata.Version > 0:
		r.outcome, r.version, r.value = history.OK, got.Data.Metadata.Version, got.Data.Data["value"]
	case status == http.StatusNotFound && err == nil && got.Errors != nil && len(got.Errors) == 0:
		r.outcome = history.OK // Vault says {"errors":[]} for a key that does not exist
	case status == http.StatusOK:
		r.outcome, r.err = history.Fail, "the answer to the read holds no version"
	default:
		r.outcome, r.err = refused(status, answer)
	}
	return r
}

// do sends a request. A status of 0 means that no whole answer came; the reply
// then is complete.
func (c *client) do(ctx context.Context, method, key string, body []byte) (int, reply, []byte) {
	// An operation certainly had no effect if it never got a connection. From
	// then on bytes may have left, and it is in doubt.
	var connected atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { connected.Store(true) },
	})
	failed := func(err error) (int, reply, []byte) {
		c.emptyPool()
		outcome := history.Unknown
		if !connected.Load() || method == http.MethodGet {
			outcome = history.Fail
		}
		return 0, reply{outcome: outcome, err: plain(err)}, nil
	}
	target := c.base.JoinPath("v1", c.mount, "data", c.prefix, key)
	req, err := http.NewRequestWithContext(ctx, method, target.String(), bytes.NewReader(body))
	if err != nil {
		return failed(err)
	}
	req.Header.Set("X-Vault-Token", c.token)
	req.Header.Set("X-Vault-Request", "true")
	resp, err := c.http.Do(req)
	if err != nil {
		return failed(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return failed(fmt.Errorf("reading the answer: %w", err))
	}
	c.heed(resp.StatusCode)
	return resp.StatusCode, reply{pod: resp.Header.Get("X-Vault-Hostname")}, answer
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

// refused tells what an answer other than success means for a write.
func refused(status int, answer []byte) (history.Outcome, string) {
	var got struct {
		Errors []string `json:"errors"`
	}
	text := ""
	if json.Unmarshal(answer, &got) == nil {
		text = strings.Join(got.Errors, "; ")
	}
	message := strings.TrimSpace(fmt.Sprintf("HTTP %d %s", status, strings.Join(strings.Fields(text), " ")))
	switch {
	case status < 500:
		// Redirects by a standby, and refusals: Vault answers them before it
		// touches the storage.
		return history.Fail, message
	case strings.Contains(text, "Vault is sealed"), strings.Contains(text, "local node not active"):
		return history.Fail, message
	default:
		return history.Unknown, message
	}
}

// plain makes the text of a network error short and stable: no URL (each key
// would make another one), no ports.
func plain(err error) string {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	var op *net.OpError
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return "timeout: no answer in time"
	case errors.As(err, &op) && op.Timeout():
		return op.Op + ": timeout"
	case errors.As(err, &op):
		return op.Op + ": " + op.Err.Error()
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "the connection was closed before the answer"
	default:
		return err.Error()
	}
}
