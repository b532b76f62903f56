// Package sidecar carries out what the machine decides, with the real Vault
// and the real custody.
package sidecar

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/vaultproof/vaultproof/bootstrap/keys"
	"github.com/vaultproof/vaultproof/bootstrap/machine"
	"github.com/vaultproof/vaultproof/bootstrap/provision"
	"github.com/vaultproof/vaultproof/bootstrap/seal"
	"github.com/vaultproof/vaultproof/bootstrap/storage"
	"github.com/vaultproof/vaultproof/bootstrap/vault"
)

const (
	// roleEvery is how often an active Vault is asked whether it still is. A
	// standby is asked on every turn: it may be elected, and its labels wait.
	roleEvery = 500 * time.Millisecond
	// joinFor is how long a Vault that took its shares may fetch its data from
	// the active pod before it is given the shares again.
	joinFor = 15 * time.Second
	// silentAfter is how many unanswered questions in a row make Vault silent:
	// one may be a connection that was closed while idle.
	silentAfter = 2
)

// Options of a sidecar.
type Options struct {
	Pod               string
	Namespace         string // of the pod, for messages; empty if it is not known
	Ordinal           int
	Shares, Threshold int
	Vault             *vault.Client
	Peers             map[string]*vault.Client // by pod name, without this one
	Ring              *keys.Ring
	Provisioner       *provision.Provisioner
	Markers           *storage.Dir // nil: what was never opened is not rebuilt
	Self              Self         // nil: no hold, and no restart of its own pod
	// CustodyFailed, if set, hears of each step that failed for custody, with
	// the kind of failure as keys.Kind gives it.
	CustodyFailed func(kind string)
	// TokensLast, if set, hears after each look at them until when each live token
	// in custody is valid, and of none when Vault is no longer active.
	TokensLast func(until map[string]time.Time)
	Log        *slog.Logger
	// Resume is what an earlier life of this process knew; zero for none.
	Resume Resume
}

// Resume is what a sidecar must know to go on without looking at secrets again.
// It holds none.
type Resume struct {
	Provisioned bool                 `json:"provisioned"`
	RenewAt     time.Time            `json:"renewAt"`
	Tokens      map[string]time.Time `json:"tokens,omitempty"` // until when each is valid
	Reservation string               `json:"reservation,omitempty"`
	LastUnseal  time.Duration        `json:"lastUnseal"`
}

// Sidecar is the machine's actor. It is not safe for concurrent use: the
// machine is its only caller.
type Sidecar struct {
	o      Options
	opener *seal.Opener
	holder *holder // nil without Self
	facts  machine.Facts
	last   vault.Seal // of the last answer
	hand   *vault.Keys

	silences   int
	roleAt     time.Time
	joinUntil  time.Time
	renewAt    time.Time
	prefetchAt time.Time // not before
	prefetched bool      // since Vault went silent; shares are held once, not for as long as it is
	closedAt   time.Time // when it was first seen sealed or silent
	answeredAt time.Time // when a sealed Vault first answered
	lastUnseal time.Duration
	tokens     map[string]time.Time // what TokensLast has heard
	wanting    bool                 // provisioning was found incomplete
	settled    bool                 // an open Vault's storage bears no mark
	heldAt     time.Time            // when a hold was looked for since Vault is sealed
	deleteAt   time.Time            // not before, of the own pod
	now        func() time.Time
}

// New makes a sidecar.
func New(o Options) *Sidecar {
	s := &Sidecar{
		o:      o,
		opener: &seal.Opener{Vault: o.Vault, Shares: o.Ring, N: o.Shares},
		facts: machine.Facts{Pod: o.Pod, Namespace: o.Namespace, Ordinal: o.Ordinal, Shares: o.Shares,
			Threshold: o.Threshold, Prefix: o.Ring.Prefix, Markers: o.Markers != nil, CanRestart: o.Self != nil},
		silences: silentAfter, // until the first answer
		now:      time.Now,
	}
	if o.Self != nil {
		s.holder = &holder{self: o.Self}
	}
	s.resume(o.Resume)
	return s
}

func (s *Sidecar) resume(r Resume) {
	s.facts.Provisioned, s.renewAt, s.lastUnseal = r.Provisioned, r.RenewAt, r.LastUnseal
	s.facts.Provision = reservation(r.Reservation)
	if r.Tokens != nil {
		s.tokensLast(r.Tokens)
	}
}

// Resume is what the next life of this process needs to know.
func (s *Sidecar) Resume() Resume {
	return Resume{Provisioned: s.facts.Provisioned, RenewAt: s.renewAt, Tokens: s.tokens,
		Reservation: s.facts.Provision.Text, LastUnseal: s.lastUnseal}
}

// Holding implements machine.Actor.
func (s *Sidecar) Holding() bool { return s.hand != nil }

// Close overwrites what is left in memory.
func (s *Sidecar) Close() {
	s.opener.Wipe()
	if s.hand != nil {
		s.hand.Wipe()
	}
}

// Ready tells whether traffic may come here. An active Vault that was found to
// lack its provisioning is not ready; one whose provisioning is merely not
// checked yet is, for after a failover it must serve even if custody is down. One
// that is open in the middle of a restore has none of its data.
func (s *Sidecar) Ready() bool {
	f := s.facts
	return f.Answers && f.Initialised && !f.Sealed && !(s.wanting && f.Role == machine.Active) && f.Fresh != storage.Restore
}

// LastUnseal is how long the last unseal took from Vault's first sealed answer.
func (s *Sidecar) LastUnseal() time.Duration { return s.lastUnseal }

// Observe implements machine.Actor.
func (s *Sidecar) Observe(ctx context.Context) machine.Facts {
	now := s.now()
	st, err := s.sealStatus(ctx)
	if err != nil {
		s.silent(err, now)
	} else {
		s.heard(ctx, st, now)
	}
	s.markers()
	s.hold(ctx, now)
	if s.tokens != nil && s.facts.Role != machine.Active {
		s.tokensLast(nil)
	}
	s.facts.KeysInHand = s.hand != nil
	s.facts.Warm = s.opener.Warm(now) || s.prefetched || now.Before(s.prefetchAt)
	s.facts.Joining = now.Before(s.joinUntil)
	s.facts.RenewDue = s.facts.Provisioned && !now.Before(s.renewAt)
	return s.facts
}

// sealStatus asks a second time at once if the first question failed without
// a timeout: it may have gone down a connection that Vault closed while idle.
func (s *Sidecar) sealStatus(ctx context.Context) (vault.Seal, error) {
	st, err := s.o.Vault.SealStatus(ctx)
	if err == nil || s.silences > 0 || errors.Is(err, context.DeadlineExceeded) {
		return st, err
	}
	s.silences++
	return s.o.Vault.SealStatus(ctx)
}

func (s *Sidecar) silent(err error, now time.Time) {
	s.silences++
	if s.silences < silentAfter {
		return
	}
	if s.facts.Answers || s.closedAt.IsZero() {
		s.closedAt = now
	}
	f := &s.facts
	f.Answers, f.Role, f.Provisioned, f.Inspected = false, machine.Unknown, false, false
	s.answeredAt, s.joinUntil, s.heldAt = time.Time{}, time.Time{}, time.Time{}
	if s.hand == nil {
		f.Custody = machine.Trouble{}
	}
	var op *net.OpError
	kind := "failing"
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		kind, err = "slow", fmt.Errorf("%w (it holds its answers back while it joins raft)", err)
	case errors.As(err, &op) && op.Op == "dial":
		kind = "down"
	}
	f.Silence = machine.Trouble{Kind: kind, Text: err.Error()}
}

func (s *Sidecar) heard(ctx context.Context, st vault.Seal, now time.Time) {
	s.silences, s.last, s.prefetched = 0, st, false
	f := &s.facts
	f.Answers, f.Silence = true, machine.Trouble{}
	if st.Initialised != f.Initialised {
		f.Inspected, f.PeerData, f.InitFailed = false, "", machine.Trouble{}
	}
	f.Initialised, f.Sealed, f.Removed = st.Initialised, st.Sealed, st.Removed
	if st.Threshold > 0 {
		f.Threshold = st.Threshold
	}
	if st.Sealed || !st.Initialised {
		f.Role, f.Provisioned = machine.Unknown, false
		if s.answeredAt.IsZero() && st.Initialised {
			s.answeredAt = now
		}
		return
	}
	s.opened(now)
	if now.Sub(s.roleAt) >= roleEvery || f.Role != machine.Active {
		s.role(ctx, now)
	}
}

// opened forgets what only mattered while Vault was sealed.
func (s *Sidecar) opened(now time.Time) {
	if !s.answeredAt.IsZero() {
		s.lastUnseal = now.Sub(s.answeredAt)
		s.o.Log.Info("vault unsealed", "pod", s.o.Pod, "sinceAnswerMs", s.lastUnseal.Milliseconds(),
			"sinceClosedMs", sinceOr(now, s.closedAt, s.answeredAt).Milliseconds())
	}
	s.answeredAt, s.joinUntil, s.closedAt = time.Time{}, time.Time{}, time.Time{}
	s.opener.Wipe()
	f := &s.facts
	f.Missing, f.TooFew, f.BadShares, f.Unsealing, f.Custody = nil, false, machine.Trouble{}, machine.Trouble{}, machine.Trouble{}
}

func sinceOr(now, t, or time.Time) time.Duration {
	if t.IsZero() {
		t = or
	}
	return now.Sub(t)
}

// role asks Vault for its role. Failing to answer is no change of role: the
// seal status is what tells whether Vault works.
func (s *Sidecar) role(ctx context.Context, now time.Time) {
	active, err := s.o.Vault.Active(ctx)
	if err != nil {
		return
	}
	s.roleAt = now
	if active {
		s.facts.Role = machine.Active
		return
	}
	s.facts.Role, s.facts.Provisioned, s.facts.Provision = machine.Standby, false, machine.Trouble{}
}
