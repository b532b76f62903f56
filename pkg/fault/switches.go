package fault

import (
	"context"
	"strings"
	"time"
)

// CustodySwitch makes the custody service fail on demand. Only a server made
// for tests has one; without it faults of custody cannot be injected.
type CustodySwitch interface {
	// Set makes the calls that f describes fail until Heal.
	Set(ctx context.Context, f CustodyFault) error
	// Heal ends all faults.
	Heal(ctx context.Context) error
	// Calls lists what custody was asked since then, oldest first.
	Calls(ctx context.Context, since time.Time) ([]CustodyCall, error)
}

// CustodyFault says which calls fail, and how.
type CustodyFault struct {
	// Mode is deny, unavailable, quota, deadline or delay.
	Mode string
	// Method is an RPC of Secret Manager, such as AccessSecretVersion; empty
	// means all.
	Method string
	// Secret is the id of a secret, or with * at its end the start of the ids of many;
	// empty means all.
	Secret string
}

// means tells whether the fault hits calls for the secret called id.
func (f CustodyFault) means(id string) bool {
	if start, many := strings.CutSuffix(f.Secret, "*"); many {
		return strings.HasPrefix(id, start)
	}
	return f.Secret == "" || f.Secret == id
}

// CustodyCall is one call as custody's access log has it.
type CustodyCall struct {
	At        time.Time
	Method    string // AccessSecretVersion
	Secret    string // id
	Principal string // namespace/service account of the caller
	Code      string // gRPC status: OK, PermissionDenied…
}

// NodePower turns nodes of a cluster off and on, as pulling the plug would.
type NodePower interface {
	// Off stops the node at once, without a shutdown.
	Off(ctx context.Context, node string) error
	// On starts it again.
	On(ctx context.Context, node string) error
	// State tells whether the node's machine runs, from a source other than
	// Kubernetes.
	State(ctx context.Context, node string) (running bool, err error)
}
