package keys

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/vaultproof/vaultproof/bootstrap/failpoint"
	"github.com/vaultproof/vaultproof/pkg/custody"
)

// Phase of a claim: how far its holder got.
type Phase string

// The phases. Between them lies sys/init: a Vault that is initialised while
// its claim is still Claimed lost its keys before they reached custody.
const (
	Claimed Phase = "claimed" // holds the right to call sys/init
	Stored  Phase = "stored"  // initialised; every key was read back from custody
)

// Claim is the right to initialise the Vault, kept in custody. It holds no
// secret.
type Claim struct {
	Holder string    `json:"holder"` // pod name
	Phase  Phase     `json:"phase"`
	At     time.Time `json:"at"`
}

// Found tells whether there is a claim at all.
func (c Claim) Found() bool { return c.Phase != "" }

// ID tells this claim from one that was made after it was deleted. It is that
// of the open claim: signing it as Stored changes it.
func (c Claim) ID() string { return c.Holder + "@" + c.At.UTC().Format(time.RFC3339) }

// ClaimID names the secret that is the lock.
func (r *Ring) ClaimID() string { return r.Prefix + "-init-claim" }

// ProofID names the secret that custody is tried with.
func (r *Ring) ProofID() string { return r.Prefix + "-custody-proof" }

// Prove shows that custody takes a write and gives it back unharmed, before
// anything depends on it.
func (r *Ring) Prove(ctx context.Context) error {
	return r.Put(ctx, r.ProofID(), []byte(rand.Text()))
}

// ReadClaim reads the claim. The zero Claim means that nobody has claimed, or
// that a claimant died between creating the secret and signing it.
func (r *Ring) ReadClaim(ctx context.Context) (Claim, error) {
	raw, err := r.Get(ctx, r.ClaimID())
	if errors.Is(err, custody.ErrNotFound) {
		return Claim{}, nil
	} else if err != nil {
		return Claim{}, err
	}
	var c Claim
	if err := json.Unmarshal(raw, &c); err != nil || c.Holder == "" || (c.Phase != Claimed && c.Phase != Stored) {
		return Claim{}, &Failure{ID: r.ClaimID(), Err: fmt.Errorf("it is not a claim that this version understands: %w", custody.ErrCorrupt)}
	}
	return c, nil
}

// Take claims the right to initialise for holder, and returns the claim that
// stands afterwards, which may be another's. Custody's atomic create decides.
// A claim that was created but never signed is taken over: nobody can have
// called sys/init under it, because that needs the signature read back.
func (r *Ring) Take(ctx context.Context, holder string, now time.Time) (Claim, error) {
	err := r.create(ctx, r.ClaimID())
	if err != nil && !errors.Is(err, custody.ErrExists) {
		return Claim{}, err
	}
	if err != nil {
		c, err := r.ReadClaim(ctx)
		if err != nil || c.Found() {
			return c, err
		}
	}
	return r.Sign(ctx, Claim{Holder: holder, Phase: Claimed, At: now})
}

// Sign writes the claim and reads it back.
func (r *Ring) Sign(ctx context.Context, c Claim) (Claim, error) {
	c.At = c.At.UTC().Truncate(time.Second)
	raw, err := json.Marshal(c)
	if err != nil {
		return Claim{}, fmt.Errorf("encoding the claim: %w", err)
	}
	failpoint.Hit("before-sign-" + string(c.Phase))
	if err := r.Put(ctx, r.ClaimID(), raw); err != nil {
		return Claim{}, err
	}
	failpoint.Hit("after-sign-" + string(c.Phase))
	return c, nil
}
