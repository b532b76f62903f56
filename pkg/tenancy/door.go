package tenancy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/vaultproof/vaultproof/pkg/ingress"
	"github.com/vaultproof/vaultproof/pkg/target"
)

// httpsPort is the one of public names.
const httpsPort = 443

// clientTimeout bounds one request of a tenant whose context has no nearer end.
const clientTimeout = 10 * time.Second

// idleConnections is how many connections of this process are kept open between requests:
// enough for fifty logins a second without a handshake for each.
const idleConnections = 64

// ErrNoDoor means that no Ingress or TLSRoute passes TLS through to Vault.
var ErrNoDoor = errors.New("no Ingress or TLSRoute passes TLS through to Vault, so tenants have no way in")

// Door is the way to Vault for tenants: through the ingress and never past it. TLS ends in
// the Vault pod, whose own certificate is verified.
type Door struct {
	// Object is what makes the door, such as "Ingress ingress/vault".
	Object string
	// Host is the public name, which Vault's certificate must bear, and Address the base
	// URL.
	Host, Address string

	way       *Way
	transport *http.Transport
	client    *api.Client
}

// OpenDoor finds the door of a target. ErrNoDoor if there is none.
func OpenDoor(ctx context.Context, t *target.Target) (*Door, error) {
	services := append([]string{t.ActiveService, t.HeadlessService}, t.ClientServices...)
	ways, err := ingress.Find(ctx, t.Config, t.Client, ingress.Vault{Namespace: t.Namespace, Services: services})
	if err != nil {
		return nil, fmt.Errorf("looking for a way to Vault from outside: %w", err)
	}
	for _, told := range t.Ingress {
		ways.Doors = append(ways.Doors, ingress.Told(told.Host, told.Address))
	}
	config, err := t.TLS()
	if err != nil {
		return nil, err
	}
	return newDoor(ways.Doors, config)
}

// newDoor opens the first door that passes TLS through and that somebody serves. config
// has the roots that Vault's certificate is verified with.
func newDoor(doors []ingress.Door, config *tls.Config) (*Door, error) {
	for _, found := range doors {
		if found.Passthrough && found.Name() != "" && len(found.Entries) > 0 {
			return Through(found, config)
		}
	}
	return nil, ErrNoDoor
}

// Through opens a door that is known. config has the roots that Vault's certificate is
// verified with.
func Through(found ingress.Door, config *tls.Config) (*Door, error) {
	host := found.Name()
	d := &Door{Object: found.Object, Host: host, Address: "https://" + net.JoinHostPort(host, strconv.Itoa(httpsPort)), way: wayThrough(found)}
	return d, d.prepare(config)
}

func (d *Door) prepare(config *tls.Config) error {
	config = config.Clone()
	config.ServerName = d.Host
	d.transport = &http.Transport{
		DialContext:         func(ctx context.Context, _, _ string) (net.Conn, error) { return d.way.Dial(ctx) },
		TLSClientConfig:     config,
		TLSHandshakeTimeout: clientTimeout,
		MaxIdleConns:        idleConnections, MaxIdleConnsPerHost: idleConnections,
		IdleConnTimeout: time.Minute,
	}
	client, err := api.NewClient(&api.Config{
		Address:    d.Address,
		HttpClient: &http.Client{Transport: d.transport, CheckRedirect: noRedirect},
		Timeout:    clientTimeout,
		MaxRetries: 0,
	})
	if err != nil {
		return fmt.Errorf("preparing a Vault client for %s: %w", d.Object, err)
	}
	client.ClearToken()
	client.ClearNamespace()
	d.client = client
	return nil
}

// noRedirect keeps an answer the answer of who was asked.
func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// Dial opens a connection through the door, before any TLS.
func (d *Door) Dial(ctx context.Context) (net.Conn, error) { return d.way.Dial(ctx) }

// Client returns a Vault client of its own, which comes in through the door, bears token
// (none if it is empty), does not retry, and takes nothing from the environment.
func (d *Door) Client(token string) (*api.Client, error) {
	client, err := d.client.Clone()
	if err != nil {
		return nil, fmt.Errorf("preparing a Vault client for %s: %w", d.Object, err)
	}
	client.ClearNamespace()
	client.ClearToken()
	if token != "" {
		client.SetToken(token)
	}
	return client, nil
}

// Close closes the connections that nobody uses.
func (d *Door) Close() { d.transport.CloseIdleConnections() }

// Way opens connections by the first of several entries that works, beginning with the one
// that did the last time.
type Way struct {
	dials []func(context.Context) (net.Conn, error)
	last  atomic.Int64
}

// NewWay makes a way of entries, in the order of preference.
func NewWay(dials ...func(context.Context) (net.Conn, error)) *Way { return &Way{dials: dials} }

// wayThrough is the way in by any of the pods, or addresses, that serve a door.
func wayThrough(d ingress.Door) *Way {
	w := NewWay()
	for _, entry := range d.Entries {
		w.dials = append(w.dials, entry.DialTLS)
	}
	return w
}

// Dial tries each entry once.
func (w *Way) Dial(ctx context.Context) (net.Conn, error) {
	var errs []error
	first := int(w.last.Load())
	for i := range w.dials {
		n := (first + i) % len(w.dials)
		conn, err := w.dials[n](ctx)
		if err == nil {
			w.last.Store(int64(n))
			return conn, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}
