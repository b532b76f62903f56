package conformance

import (
	"context"
	"errors"
	"net"

	"github.com/vaultproof/vaultproof/pkg/probe"
	"github.com/vaultproof/vaultproof/pkg/target"
	"github.com/vaultproof/vaultproof/pkg/tenancy"
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
	dial                       func(context.Context) (net.Conn, error)
}

// entranceTo finds the way: the tenants' door or, where there is none, port-forwards to
// Vault's pods.
func entranceTo(ctx context.Context, t *target.Target, pods []string) (entrance, error) {
	door, err := tenancy.OpenDoor(ctx, t)
	switch {
	case err == nil:
		return entrance{route: routeIngress, address: door.Address, serverName: door.Host, dial: door.Dial}, nil
	case !errors.Is(err, tenancy.ErrNoDoor):
		return entrance{}, err
	}
	var dials []func(context.Context) (net.Conn, error)
	for _, pod := range pods {
		dials = append(dials, func(ctx context.Context) (net.Conn, error) { return t.DialPod(ctx, pod, target.VaultPort) })
	}
	return entrance{route: routeForward, address: t.Address(), serverName: t.ServerName, dial: tenancy.NewWay(dials...).Dial}, nil
}

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
