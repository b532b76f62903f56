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
	"github.com/vaultproof/vaultproof/bootstrap/vault"
)

const (
	// roleEvery is how often an unsealed Vault is asked whether it is active.
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
	Ordinal           int
	Shares, Threshold int
	Vault             *vault.Client
	Peers             map[string]*vault.Client // by pod name, without this one
	Ring              *keys.Ring
	Provisioner       *provision.Provisioner
	Log               *slog.Logger
}

// Sidecar is the machine's actor. It is not safe for concurrent use: the
// machine is its only caller.
type Sidecar struct {
	o      Options
	opener *seal.Opener
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
	wanting    bool // provisioning was found incomplete
	now        func() time.Time
}

// New makes a sidecar.
func New(o Options) *Sidecar {
	return &Sidecar{
		o:      o,
		opener: &seal.Opener{Vault: o.Vault, Shares: o.Ring, N: o.Shares},
		facts: machine.Facts{Pod: o.Pod, Ordinal: o.Ordinal, Shares: o.Shares,
			Threshold: o.Threshold, Prefix: o.Ring.Prefix},
		silences: silentAfter, // until the first answer
		now:      time.Now,
	}
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
// checked yet is, for after a failover it must serve even if custody is down.
func (s *Sidecar) Ready() bool {
	f := s.facts
	return f.Answers && f.Initialised && !f.Sealed && !(s.wanting && f.Role == machine.Active)
}

// LastUnseal is how long the last unseal took from Vault's first sealed answer.
func (s *Sidecar) LastUnseal() time.Duration { return s.lastUnseal }

// Observe implements machine.Actor.
func (s *Sidecar) Observe(ctx context.Context) machine.Facts {
	now := s.now()
	st, err := s.o.Vault.SealStatus(ctx)
	if err != nil {
		s.silent(err, now)
	} else {
		s.heard(ctx, st, now)
	}
	s.facts.KeysInHand = s.hand != nil
	s.facts.Warm = s.opener.Warm(now) || s.prefetched || now.Before(s.prefetchAt)
	s.facts.Joining = now.Before(s.joinUntil)
	s.facts.RenewDue = s.facts.Provisioned && !now.Before(s.renewAt)
	return s.facts
}

func (s *Sidecar) silent(err error, now time.Time) {
	s.silences++
	if s.silences < silentAfter {
		return
	}
	if s.facts.Answers || s.closedAt.IsZero() {
		s.closedAt = now
	}
	s.facts.Answers, s.facts.Role, s.facts.Provisioned = false, machine.Unknown, false
	s.answeredAt, s.joinUntil = time.Time{}, time.Time{}
	if s.hand == nil {
		s.facts.Custody = machine.Trouble{}
	}
	var op *net.OpError
	kind := "failing"
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		kind, err = "slow", fmt.Errorf("%w (it holds its answers back while it joins raft)", err)
	case errors.As(err, &op) && op.Op == "dial":
		kind = "down"
	}
	s.facts.Silence = machine.Trouble{Kind: kind, Text: err.Error()}
}

func (s *Sidecar) heard(ctx context.Context, st vault.Seal, now time.Time) {
	s.silences, s.last, s.prefetched = 0, st, false
	f := &s.facts
	f.Answers, f.Silence = true, machine.Trouble{}
	f.Initialised, f.Sealed, f.Removed = st.Initialised, st.Sealed, st.Removed
	if st.Threshold > 0 {
		f.Threshold = st.Threshold
	}
	if st.Initialised {
		f.Inspected, f.PeerData, f.InitFailed = false, "", machine.Trouble{}
	}
	if st.Sealed || !st.Initialised {
		f.Role, f.Provisioned = machine.Unknown, false
		if s.answeredAt.IsZero() && st.Initialised {
			s.answeredAt = now
		}
		return
	}
	s.opened(now)
	if now.Sub(s.roleAt) >= roleEvery || f.Role == machine.Unknown {
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
