package sidecar

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/vaultproof/vaultproof/bootstrap/failpoint"
	"github.com/vaultproof/vaultproof/bootstrap/keys"
	"github.com/vaultproof/vaultproof/bootstrap/machine"
	"github.com/vaultproof/vaultproof/bootstrap/provision"
	"github.com/vaultproof/vaultproof/bootstrap/seal"
	"github.com/vaultproof/vaultproof/bootstrap/storage"
	"github.com/vaultproof/vaultproof/bootstrap/vault"
)

// prefetchAgain is the pause after shares were fetched in vain for a Vault
// that does not answer yet; there may be none, as before the first start.
const prefetchAgain = 5 * time.Second

// Do implements machine.Actor.
func (s *Sidecar) Do(ctx context.Context, step machine.Step) error {
	failpoint.Hit("before-" + string(step))
	err := s.do(ctx, step)
	failpoint.Hit("after-" + string(step))
	return err
}

func (s *Sidecar) do(ctx context.Context, step machine.Step) error {
	switch step {
	case machine.Prefetch:
		// A failure is reported when the shares are needed.
		s.prefetchAt = s.now().Add(prefetchAgain)
		if s.opener.Fetch(ctx, s.facts.Threshold, s.now()) == nil {
			s.prefetched = true
		}
		return nil
	case machine.Inspect:
		return s.custody(s.inspect(ctx))
	case machine.Prove:
		err := s.o.Ring.Prove(ctx)
		s.facts.Proven = err == nil
		return s.custody(err)
	case machine.Take:
		c, err := s.o.Ring.Take(ctx, s.o.Pod, s.now())
		if err == nil {
			s.claim(c)
		}
		return s.custody(err)
	case machine.Mark:
		return s.mark()
	case machine.Retire:
		return s.retire(ctx)
	case machine.Init:
		return s.init(ctx)
	case machine.Keep:
		return s.custody(s.keep(ctx))
	case machine.Rebuild:
		return s.rebuild(ctx)
	case machine.Settle:
		return s.marked(s.o.Markers.Settle())
	case machine.Unseal:
		return s.unseal(ctx)
	case machine.Provision:
		r, err := s.o.Provisioner.Ensure(ctx)
		return s.provisioned(r, err)
	case machine.Renew:
		r, err := s.o.Provisioner.Renew(ctx)
		if errors.Is(err, provision.ErrDead) {
			s.facts.Provisioned = false // Ensure makes a new one
		}
		return s.provisioned(r, err)
	}
	return fmt.Errorf("the machine asked for the unknown step %q", step)
}

// custody notes how a step that needed custody ended.
func (s *Sidecar) custody(err error) error {
	s.facts.Custody = machine.Trouble{}
	if err != nil {
		s.facts.Custody = machine.Trouble{Kind: keys.Kind(err), Text: err.Error()}
		s.count(err)
	}
	return err
}

// count tells whoever counts them of a failure of custody.
func (s *Sidecar) count(err error) {
	if s.o.CustodyFailed != nil {
		s.o.CustodyFailed(keys.Kind(err))
	}
}

func (s *Sidecar) claim(c keys.Claim) {
	s.facts.Claimant, s.facts.ClaimDone, s.facts.ClaimAt = c.Holder, c.Phase == keys.Stored, c.At
}

func (s *Sidecar) inspect(ctx context.Context) error {
	s.facts.PeerData = s.peerData(ctx)
	return s.look(ctx)
}

// peerData names a peer that has data, if there is one. All are asked at once,
// and one that does not answer tells nothing; before the first start none does.
func (s *Sidecar) peerData(ctx context.Context) (pod string) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	for name, peer := range s.o.Peers {
		wg.Go(func() {
			if st, err := peer.SealStatus(ctx); err == nil && s.counts(st) {
				mu.Lock()
				defer mu.Unlock()
				pod = max(pod, name) // the same one each time
			}
		})
	}
	wg.Wait()
	return pod
}

// counts tells whether a peer has data. Beside a restore that was cut short, one
// that is sealed has none: it asked that attempt whether it may join, and calls
// itself initialised since.
func (s *Sidecar) counts(peer vault.Seal) bool {
	return peer.Initialised && (!peer.Sealed || s.facts.Fresh != storage.Restore)
}

// look reads claim and inventory.
func (s *Sidecar) look(ctx context.Context) error {
	c, err := s.o.Ring.ReadClaim(ctx)
	if err != nil {
		return err
	}
	inv, err := s.o.Ring.Inventory(ctx)
	if err != nil {
		return err
	}
	s.claim(c)
	f := &s.facts
	f.KeyShares, f.RootKey, f.LiveKeys, f.Inspected = inv.Shares, inv.Root, inv.Live, true
	return nil
}

func (s *Sidecar) init(ctx context.Context) error {
	k, err := s.o.Vault.Init(ctx, s.o.Shares, s.o.Threshold)
	s.facts.InitFailed = machine.Trouble{}
	if err != nil {
		s.facts.InitFailed = machine.Trouble{Kind: "refused", Text: err.Error()}
		return err
	}
	s.hand, s.facts.KeysInHand, s.wanting = k, true, true
	return nil
}

func (s *Sidecar) keep(ctx context.Context) error {
	if err := s.o.Ring.Keep(ctx, s.hand); err != nil {
		return err
	}
	c, err := s.o.Ring.Sign(ctx, keys.Claim{Holder: s.o.Pod, Phase: keys.Stored, At: s.now()})
	if err != nil {
		return err
	}
	s.claim(c)
	s.hand.Wipe()
	s.hand = nil
	return nil
}

func (s *Sidecar) unseal(ctx context.Context) error {
	f := &s.facts
	opened, err := s.opener.Open(ctx, f.Threshold, s.last, s.now())
	f.Missing, f.TooFew, f.BadShares, f.Unsealing, f.Custody = nil, false, machine.Trouble{}, machine.Trouble{}, machine.Trouble{}
	var few *seal.TooFewError
	var failed *keys.Failure
	switch {
	case err == nil && !opened:
		s.joinUntil = s.now().Add(joinFor)
	case err == nil:
		return s.finish(ctx)
	case errors.As(err, &few):
		f.Missing, f.TooFew = few.Missing, true
		_ = s.custody(few.Causes)
		// What the claim says decides between two opposite remedies.
		if lookErr := s.look(ctx); lookErr != nil {
			f.Claimant = ""
		}
	case errors.Is(err, seal.ErrWrong):
		f.BadShares = machine.Trouble{Kind: "wrong", Text: err.Error()}
	case errors.As(err, &failed):
		return s.custody(err)
	default:
		f.Unsealing = machine.Trouble{Kind: "refused", Text: err.Error()}
	}
	return err
}

// finish closes a claim that its holder left open although the keys are all
// there: it died between the last key and the signature.
func (s *Sidecar) finish(ctx context.Context) error {
	if s.o.Ordinal != 0 || s.facts.ClaimDone {
		return nil
	}
	c, err := s.o.Ring.ReadClaim(ctx)
	if err == nil && c.Found() && c.Phase != keys.Stored {
		c.Phase, c.At = keys.Stored, s.now()
		c, err = s.o.Ring.Sign(ctx, c)
	}
	if err == nil {
		s.claim(c)
	}
	return err
}

// tokensLast tells whoever shows them of the tokens in custody.
func (s *Sidecar) tokensLast(until map[string]time.Time) {
	s.tokens = until
	if s.o.TokensLast != nil {
		s.o.TokensLast(until)
	}
}

// reservation is what could not be checked although Vault is provisioned.
func reservation(text string) machine.Trouble {
	if text == "" {
		return machine.Trouble{}
	}
	return machine.Trouble{Kind: "reservation", Text: text}
}

func (s *Sidecar) provisioned(r provision.Result, err error) error {
	if r.Tokens != nil {
		s.tokensLast(r.Tokens)
	}
	f := &s.facts
	f.Provision = machine.Trouble{}
	if err != nil {
		f.Provision = machine.Trouble{Kind: "failing", Text: err.Error()}
		s.wanting = s.wanting || errors.Is(err, provision.ErrDead)
		if failed := (*keys.Failure)(nil); errors.As(err, &failed) {
			s.count(failed)
		}
		return err
	}
	f.Provision = reservation(r.Reservation)
	f.Provisioned, s.wanting = true, false
	s.renewAt = s.now().Add(r.RenewIn)
	return nil
}
