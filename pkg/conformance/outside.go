package conformance

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync/atomic"

	"github.com/vaultproof/vaultproof/pkg/ingress"
	"github.com/vaultproof/vaultproof/pkg/probe"
	"github.com/vaultproof/vaultproof/pkg/target"
)

// outsideRate is how many operations a second come from outside the cluster.
const outsideRate = 1

// The ways from outside, as they are called in what is measured.
const (
	routeIngress = "ingress"
	routeForward = "port-forward"
)

// entrance is a way to Vault from where the suite runs.
type entrance struct {
	route, address, serverName string
	dials                      []func(context.Context) (net.Conn, error)
	last                       atomic.Int64 // the one that worked last
}

// dial opens a connection by the first of them that works, beginning with the one
// that did the last time.
func (e *entrance) dial(ctx context.Context) (net.Conn, error) {
	var errs []error
	first := int(e.last.Load())
	for i := range e.dials {
		n := (first + i) % len(e.dials)
		conn, err := e.dials[n](ctx)
		if err == nil {
			e.last.Store(int64(n))
			return conn, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// entranceTo finds the way: a door that passes TLS through to Vault or, where there
// is none, port-forwards to Vault's pods.
func entranceTo(ctx context.Context, t *target.Target, pods []string) (*entrance, error) {
	services := append([]string{t.ActiveService, t.HeadlessService}, t.ClientServices...)
	ways, err := ingress.Find(ctx, t.Config, t.Client, ingress.Vault{Namespace: t.Namespace, Services: services})
	if err != nil {
		return nil, fmt.Errorf("looking for a way to Vault from outside: %w", err)
	}
	for _, told := range t.Ingress {
		ways.Doors = append(ways.Doors, ingress.Told(told.Host, told.Address))
	}
	if e := through(ways.Doors); e != nil {
		return e, nil
	}
	e := &entrance{route: routeForward, address: t.Address(), serverName: t.ServerName}
	for _, pod := range pods {
		e.dials = append(e.dials, func(ctx context.Context) (net.Conn, error) { return t.DialPod(ctx, pod, target.VaultPort) })
	}
	return e, nil
}

// through picks the first door that passes TLS through and that somebody serves; nil
// if there is none.
func through(doors []ingress.Door) *entrance {
	for _, door := range doors {
		if !door.Passthrough || door.Name() == "" || len(door.Entries) == 0 {
			continue
		}
		e := &entrance{route: routeIngress, serverName: door.Name(), address: "https://" + net.JoinHostPort(door.Name(), strconv.Itoa(httpsPort))}
		for _, entry := range door.Entries {
			e.dials = append(e.dials, entry.DialTLS)
		}
		return e
	}
	return nil
}

// httpsPort is the one of public names.
const httpsPort = 443

// startOutside starts the load from outside the cluster. Its error leaves the load
// out and nothing else.
func (t *Traffic) startOutside(ctx context.Context, pods []string, seed uint64) error {
	e, err := entranceTo(ctx, t.target, pods)
	if err != nil {
		return err
	}
	t.outside, err = probe.StartOutside(ctx, probe.OutsideOptions{
		Route: e.route, Address: e.address, ServerName: e.serverName, CA: t.target.CA, Dial: e.dial,
		Token: t.access.token, Mount: probeName, Prefix: "outside", Rate: outsideRate, Seed: seed,
	})
	return err
}
