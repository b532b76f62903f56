package terraform

import (
	"context"
	"net"
)

// Vault is the one that modules are applied to.
type Vault struct {
	// Address is the base URL, https.
	Address string
	// ServerName is what its certificate must be for; empty means the host in Address.
	ServerName string
	// CA verifies its certificate, as PEM; empty means the system's roots.
	CA []byte
	// Dial, if set, opens connections to it in place of the network: through an ingress, for
	// instance, whose name this machine cannot resolve.
	Dial func(context.Context) (net.Conn, error)
	// Token is asked for before each command. What it returns is overwritten afterwards.
	Token func(context.Context) ([]byte, error)
}
