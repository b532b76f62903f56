package wire

import (
	"errors"
	"fmt"
	"net/url"
	"time"
)

// The kinds of streams.
const (
	Register = "register" // check-and-set registers in kv version 2
	Journal  = "journal"  // entries that are only ever added, in kv version 2
	Transit  = "transit"  // encryption and decryption
	Token    = "token"    // tokens that are made, renewed, looked up and revoked
	Lease    = "lease"    // leases that are made, looked up and revoked
	Login    = "login"    // logins with a service account's token
)

// Stream is one kind of operation on one way to Vault, at a rate of its own. It
// shares nothing with other streams but the token: what it suffers disturbs no
// other.
type Stream struct {
	// Kind is register, journal, transit, token, lease or login.
	Kind string `json:"kind"`
	// Route names the way to Vault, and is the first part of the names of keys.
	// Empty means the way that Config.Address leads; the other fields of the way
	// then are empty too.
	Route string `json:"route,omitempty"`
	// Address is the base URL on that way.
	Address string `json:"address,omitempty"`
	// ServerName is the name that the certificate must bear there.
	ServerName string `json:"serverName,omitempty"`
	// Via is the host:port that is dialled in place of the one in Address.
	Via string `json:"via,omitempty"`
	// Pod is dialled instead, wherever it is: one of Config.Pods.
	Pod string `json:"pod,omitempty"`
	// Mount is where the secrets engine of transit and leases is, and the auth method
	// of logins. Registers and journals are in Config.Mount, and tokens need none.
	Mount string `json:"mount,omitempty"`
	// Role and JWT are what a login asks for and shows. The JWT is a secret.
	Role string `json:"role,omitempty"`
	JWT  string `json:"jwt,omitempty"`
	// Rate is how many operations start in a second.
	Rate float64 `json:"rate"`
	// MaxInFlight bounds the operations that wait for an answer.
	MaxInFlight int `json:"maxInFlight"`
}

// Main is the stream of registers at the address itself.
func (c Config) Main() Stream {
	return Stream{
		Kind: Register, Address: c.Address, ServerName: c.ServerName, Mount: c.Mount, Rate: c.Rate, MaxInFlight: c.MaxInFlight,
	}
}

// withDefaults fills in what is left at zero.
func (s Stream) withDefaults(c Config) Stream {
	if s.Address == "" {
		s.Address, s.ServerName = c.Address, c.ServerName
	}
	if s.Kind == Register || s.Kind == Journal {
		s.Mount = c.Mount
	}
	if s.MaxInFlight == 0 {
		s.MaxInFlight = roomFor(s.Rate, c.Timeout, 8)
	}
	return s
}

func (s Stream) validate() error {
	u, err := url.Parse(s.Address)
	switch s.Kind {
	case Register, Journal, Transit, Token, Lease, Login:
	default:
		return errors.New("there is no such kind")
	}
	switch {
	case err != nil || u.Scheme != "https" || u.Host == "":
		return fmt.Errorf("the address %q is no https URL", s.Address)
	case s.Rate <= 0 || s.Rate > maxRate:
		return fmt.Errorf("a rate of %g operations a second is out of range", s.Rate)
	case s.Mount == "" && s.Kind != Token:
		return errors.New("it needs a mount")
	case s.Kind == Login && (s.Role == "" || s.JWT == ""):
		return errors.New("it needs a role, and a service account's token")
	case s.MaxInFlight < 1:
		return errors.New("at least one operation in flight is needed")
	}
	return nil
}

// roomFor is how many operations may wait for an answer. When nothing answers,
// rate*timeout of them do. Twice that leaves room, so that "overload" means that
// something is wrong.
func roomFor(rate float64, timeout time.Duration, least int) int {
	return max(least, int(2*rate*timeout.Seconds()))
}
