package sidecar

import (
	"context"
	"errors"
	"time"

	"github.com/vaultproof/vaultproof/bootstrap/keys"
	"github.com/vaultproof/vaultproof/bootstrap/machine"
	"github.com/vaultproof/vaultproof/bootstrap/storage"
	"github.com/vaultproof/vaultproof/pkg/custody"
)

// deleteAgain is the pause before the own pod is deleted once more, which is
// due if it is still there: it has a grace period.
const deleteAgain = 30 * time.Second

// markers reads what is marked on the storage. Beside an open Vault nothing is
// read any more once there was no mark, so that a slow disk cannot stop us.
func (s *Sidecar) markers() {
	f := &s.facts
	open := f.Answers && f.Initialised && !f.Sealed
	if s.o.Markers == nil || (open && s.settled) {
		return
	}
	err := s.readMarkers()
	f.Storage = machine.Trouble{}
	if err != nil {
		f.Storage = machine.Trouble{Kind: "unreadable", Text: err.Error()}
	}
	s.settled = open && err == nil && f.Fresh == "" && !f.Rebuild && !f.Restoring
}

func (s *Sidecar) readMarkers() error {
	f := &s.facts
	mark, _, err := s.o.Markers.Fresh()
	if err != nil {
		// A garbled mark is no mark for an empty Vault, which is marked anew.
		f.Fresh, f.FreshClaim, f.Rebuild = "", "", false
		return err
	}
	f.Fresh, f.FreshClaim = mark.Purpose, mark.Claim
	if f.Rebuild, err = s.o.Markers.RebuildAsked(); err != nil {
		return err
	}
	f.Restoring, err = s.o.Markers.Locked()
	return err
}

// marked notes how a change of the markers ended.
func (s *Sidecar) marked(err error) error {
	s.facts.Marking = machine.Trouble{}
	if err != nil {
		s.facts.Marking = machine.Trouble{Kind: "failing", Text: err.Error()}
	}
	return err
}

func (s *Sidecar) mark() error {
	claim := keys.Claim{Holder: s.facts.Claimant, At: s.facts.ClaimAt}
	return s.marked(s.o.Markers.Begin(storage.Fresh{Purpose: storage.Init, Claim: claim.ID(), At: s.now()}))
}

// retire disables keys of Vaults that were never opened. Not being allowed to
// is no reason to stay without a Vault: the newest version is what is read.
func (s *Sidecar) retire(ctx context.Context) error {
	err := s.o.Ring.Retire(ctx)
	if err != nil && !errors.Is(err, custody.ErrDenied) {
		return s.custody(err)
	}
	if err != nil {
		s.o.Log.Warn("keys of a Vault that was never opened stay enabled in custody; nothing reads them once there are newer versions", "pod", s.o.Pod, "error", err.Error())
	} else {
		s.o.Log.Info("keys of a Vault that was never opened are disabled in custody", "pod", s.o.Pod, "secrets", s.facts.LiveKeys)
	}
	s.facts.LiveKeys = 0
	return s.custody(nil)
}

// rebuild asks for the storage to be emptied, after one more look at all that
// speaks against it, and for Vault to be restarted.
func (s *Sidecar) rebuild(ctx context.Context) error {
	if err := s.custody(s.inspect(ctx)); err != nil {
		s.facts.Inspected = false
		return err
	}
	if machine.Decide(s.facts).Step != machine.Rebuild {
		return nil
	}
	if err := s.marked(s.o.Markers.AskRebuild()); err != nil {
		return err
	}
	if s.o.Self == nil || s.now().Before(s.deleteAt) {
		return nil
	}
	s.facts.Restart = machine.Trouble{}
	if err := s.o.Self.Delete(ctx); err != nil {
		s.facts.Restart = machine.Trouble{Kind: "failing", Text: err.Error()}
		return err
	}
	s.deleteAt = s.now().Add(deleteAgain)
	return nil
}
