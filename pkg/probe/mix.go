package probe

import (
	"math"

	"github.com/vaultproof/vaultproof/pkg/probe/internal/load"
	"github.com/vaultproof/vaultproof/pkg/probe/internal/wire"
)

// What the operations on leases and on ciphertexts need of their secrets engines.
const (
	// LeaseRole is a role of an ssh secrets engine that gives one-time passwords
	// for LeaseHost.
	LeaseRole = load.LeaseRole
	LeaseHost = load.LeaseHost
	// TransitKey is the key of a transit secrets engine; the load makes it, if it
	// may.
	TransitKey = load.TransitKey
)

// Mix is how the rate is shared out among the kinds of operations, by weight. The
// zero value has registers alone.
//
// Outages are computed from the registers: let their part of the rate be high.
type Mix struct {
	// Registers are reads and check-and-set writes of keys.
	Registers float64
	// Journals get entries that are never taken away.
	Journals float64
	// Transit encrypts and decrypts by turns.
	Transit float64
	// Tokens are made, looked up, renewed and revoked.
	Tokens float64
	// Leases are made, looked up and revoked.
	Leases float64
}

// Total is the sum of the weights.
func (m Mix) Total() float64 { return m.Registers + m.Journals + m.Transit + m.Tokens + m.Leases }

// Engines are where the secrets engines are mounted that the kinds beside registers
// need. Journals are in the engine of the registers.
type Engines struct {
	Transit string
	// SSH gives leases.
	SSH string
}

// Way leads to Vault past the Service: to one pod, or through an ingress. It is
// watched with registers of its own, which are no part of the outages.
type Way struct {
	// Route names it in what is measured.
	Route string
	// Pod is the pod that it leads to, one of Options.Pods. Standbys pass requests
	// on to the active pod.
	Pod string
	// Address, ServerName and Via are of a way that leads to no certain pod: the
	// base URL, the name that the certificate must bear, and the host:port that is
	// dialled.
	Address, ServerName, Via string
	// Rate is how many operations start in a second.
	Rate float64
}

// Login is a load of logins with the Kubernetes token of a service account. Each asks for
// a token of its own, which nobody keeps: how long it lives is up to the role.
type Login struct {
	// Route names the way in what is measured.
	Route string
	// Address is the base URL of Vault on this way, ServerName the name that its
	// certificate must bear, and Via the host:port that is dialled; empty dials Address.
	Address, ServerName, Via string
	// Mount is where the auth method is, without slashes around it; Role is the one that
	// is asked for.
	Mount, Role string
	// JWT is the service account's token. It goes to the prober through a port-forward and
	// is kept in its memory alone.
	JWT string
	// Rate is how many logins start in a second.
	Rate float64
}

// rates shares out the rate: that of the registers, and a stream for each other
// kind.
func (o Options) rates() (registers float64, others []wire.Stream) {
	if o.Mix.Total() == 0 {
		return o.Rate, nil
	}
	part := o.Rate / o.Mix.Total()
	for _, kind := range []struct {
		kind, mount string
		weight      float64
	}{
		{wire.Journal, "", o.Mix.Journals},
		{wire.Transit, o.Engines.Transit, o.Mix.Transit},
		{wire.Token, "", o.Mix.Tokens},
		{wire.Lease, o.Engines.SSH, o.Mix.Leases},
	} {
		if kind.weight > 0 && o.Rate > 0 {
			others = append(others, wire.Stream{Kind: kind.kind, Mount: kind.mount, Rate: kind.weight * part})
		}
	}
	return math.Max(0, o.Mix.Registers*part), others
}

// ways are the streams that go past the Service.
func (o Options) ways() []wire.Stream {
	var streams []wire.Stream
	for _, w := range o.Ways {
		streams = append(streams, wire.Stream{
			Kind: wire.Register, Route: w.Route, Address: w.Address, ServerName: w.ServerName, Via: w.Via, Pod: w.Pod, Rate: w.Rate,
		})
	}
	return streams
}

// logins are the streams that log in.
func (o Options) logins() []wire.Stream {
	var streams []wire.Stream
	for _, l := range o.Logins {
		streams = append(streams, wire.Stream{
			Kind: wire.Login, Route: l.Route, Address: l.Address, ServerName: l.ServerName, Via: l.Via,
			Mount: l.Mount, Role: l.Role, JWT: l.JWT, Rate: l.Rate,
		})
	}
	return streams
}
