package keys

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vaultproof/vaultproof/bootstrap/vault"
	"github.com/vaultproof/vaultproof/fixtures/secretmanager"
	"github.com/vaultproof/vaultproof/fixtures/secretmanager/secretmanagertest"
	"github.com/vaultproof/vaultproof/pkg/custody"
)

func newRing(t *testing.T) (*Ring, *secretmanagertest.Harness, *custody.Client) {
	t.Helper()
	h := secretmanagertest.Start(t)
	h.Grant("vault", "vault", secretmanager.RoleAdmin, "vault-")
	c := h.Client(h.Config("vault", "vault"))
	return &Ring{Store: c, Prefix: "vault", Shares: 5}, h, c
}

func someKeys() *vault.Keys {
	k := &vault.Keys{Root: []byte("hvs.root")}
	for i := range 5 {
		k.Shares = append(k.Shares, fmt.Appendf(nil, "share %d", i))
	}
	return k
}

func TestKeepAndRepeat(t *testing.T) {
	r, _, c := newRing(t)
	for range 2 {
		if err := r.Keep(t.Context(), someKeys()); err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range []string{r.Share(0), r.Share(4), r.Root()} {
		if v, err := c.Versions(t.Context(), id); err != nil || len(v) != 1 {
			t.Errorf("secret %s has %d versions (error %v), want 1 although it was kept twice", id, len(v), err)
		}
	}
	if inv, err := r.Inventory(t.Context()); err != nil || inv != (Inventory{Shares: 5, Root: true, Live: 6}) {
		t.Errorf("inventory %+v, error %v", inv, err)
	}
}

func TestInventoryCountsDisabledVersions(t *testing.T) {
	r, _, c := newRing(t)
	if err := r.Put(t.Context(), r.Share(3), []byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := c.Disable(t.Context(), r.Share(3), "1"); err != nil {
		t.Fatal(err)
	}
	if inv, err := r.Inventory(t.Context()); err != nil || inv.Shares != 1 || inv.Live != 0 {
		t.Errorf("inventory %+v, error %v; a disabled share is the share of an initialised Vault", inv, err)
	}
}

func TestRetire(t *testing.T) {
	r, h, c := newRing(t)
	if err := r.Retire(t.Context()); err != nil {
		t.Fatalf("with no keys at all: %v", err)
	}
	for range 2 { // two lives; the second lost its root token
		k := someKeys()
		k.Shares[0] = []byte(time.Now().String())
		if err := r.Keep(t.Context(), k); err != nil {
			t.Fatal(err)
		}
	}
	h.Fault(secretmanager.Fault{Mode: secretmanager.FaultDeny, Method: "DisableSecretVersion", Count: 1})
	if err := r.Retire(t.Context()); Kind(err) != "denied" {
		t.Errorf("error %v; want denied", err)
	}
	if inv, err := r.Inventory(t.Context()); err != nil || inv.Live == 0 {
		t.Errorf("inventory %+v, error %v; want a key left that is enabled", inv, err)
	}
	if err := r.Retire(t.Context()); err != nil {
		t.Fatal(err)
	}
	if inv, err := r.Inventory(t.Context()); err != nil || inv != (Inventory{Shares: 5, Root: true}) {
		t.Errorf("inventory %+v, error %v; want every key known and none enabled", inv, err)
	}
	if err := r.Keep(t.Context(), someKeys()); err != nil {
		t.Fatal(err)
	}
	versions, err := c.Versions(t.Context(), r.Share(0))
	if err != nil || len(versions) != 3 || versions[0].State != custody.Enabled || versions[1].State != custody.Disabled || versions[2].State != custody.Disabled {
		t.Errorf("versions %+v, error %v; want the newest alone enabled", versions, err)
	}
}

// TestPutIsNotFooled: a write that custody loses, tears or hides is never
// taken for stored.
func TestPutIsNotFooled(t *testing.T) {
	for _, mode := range []secretmanager.FaultMode{secretmanager.FaultTorn, secretmanager.FaultLostReply, secretmanager.FaultDeny, secretmanager.FaultUnavailable} {
		t.Run(string(mode), func(t *testing.T) {
			r, h, _ := newRing(t)
			h.Fault(secretmanager.Fault{Mode: mode, Method: "AddSecretVersion", Count: 1})
			if err := r.Put(t.Context(), r.Share(0), []byte("the share")); err == nil {
				t.Error("no error although the write went wrong")
			}
			h.Heal()
			if err := r.Put(t.Context(), r.Share(0), []byte("the share")); err != nil {
				t.Fatalf("the second try failed: %v", err)
			}
			if got, err := r.Get(t.Context(), r.Share(0)); err != nil || string(got) != "the share" {
				t.Errorf("read back %q, error %v", got, err)
			}
		})
	}
	t.Run("corrupt on reading back", func(t *testing.T) {
		r, h, _ := newRing(t)
		h.Fault(secretmanager.Fault{Mode: secretmanager.FaultCorrupt})
		err := r.Put(t.Context(), r.Share(0), []byte("the share"))
		if Kind(err) != "corrupt" || !strings.Contains(err.Error(), r.Share(0)) {
			t.Errorf("error %v; want one that calls %s corrupt", err, r.Share(0))
		}
	})
}

func TestProveTellsDenial(t *testing.T) {
	r, h, _ := newRing(t)
	if err := r.Prove(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.Fault(secretmanager.Fault{Mode: secretmanager.FaultDeny, Method: "AddSecretVersion"})
	if err := r.Prove(t.Context()); Kind(err) != "denied" {
		t.Errorf("error %v; want denied", err)
	}
}

func TestTakeOnlyOnce(t *testing.T) {
	r, _, _ := newRing(t)
	const n = 8
	winners := make([]string, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			// A loser may find the claim unsigned and take it over; that is for
			// the one ordinal 0 that there is, so here losers only look.
			if err := r.create(t.Context(), r.ClaimID()); err == nil {
				winners[i] = "won"
			} else if !errors.Is(err, custody.ErrExists) {
				t.Errorf("contender %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	if got := strings.Count(strings.Join(winners, ","), "won"); got != 1 {
		t.Errorf("%d contenders won the lock", got)
	}
}

func TestTake(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	t.Run("fresh, then resumed by the same pod", func(t *testing.T) {
		r, _, c := newRing(t)
		for range 2 {
			claim, err := r.Take(t.Context(), "vault-0", now)
			if err != nil || claim.Holder != "vault-0" || claim.Phase != Claimed {
				t.Fatalf("claim %+v, error %v", claim, err)
			}
		}
		if v, _ := c.Versions(t.Context(), r.ClaimID()); len(v) != 1 {
			t.Errorf("resuming wrote: %d versions", len(v))
		}
	})
	t.Run("another holds it", func(t *testing.T) {
		r, _, _ := newRing(t)
		if _, err := r.Take(t.Context(), "other-0", now); err != nil {
			t.Fatal(err)
		}
		if claim, err := r.Take(t.Context(), "vault-0", now); err != nil || claim.Holder != "other-0" {
			t.Errorf("claim %+v, error %v; want the other's", claim, err)
		}
	})
	t.Run("claimant died before it signed", func(t *testing.T) {
		r, _, c := newRing(t)
		if err := c.Create(t.Context(), r.ClaimID()); err != nil {
			t.Fatal(err)
		}
		if claim, err := r.Take(t.Context(), "vault-0", now); err != nil || claim.Holder != "vault-0" {
			t.Errorf("claim %+v, error %v; want it taken over", claim, err)
		}
	})
	t.Run("not a claim", func(t *testing.T) {
		r, _, _ := newRing(t)
		for _, junk := range []string{"{", `{"holder":"x"}`, `{"holder":"","phase":"claimed"}`, `{"holder":"x","phase":"later"}`} {
			if err := r.Put(t.Context(), r.ClaimID(), []byte(junk)); err != nil {
				t.Fatal(err)
			}
			if claim, err := r.ReadClaim(t.Context()); err == nil || claim.Found() {
				t.Errorf("%s was read as claim %+v", junk, claim)
			}
		}
	})
	t.Run("custody loses the reply", func(t *testing.T) {
		r, h, _ := newRing(t)
		h.Fault(secretmanager.Fault{Mode: secretmanager.FaultLostReply, Method: "CreateSecret", Count: 1})
		if _, err := r.Take(t.Context(), "vault-0", now); err == nil {
			t.Error("no error although the reply was lost")
		}
		h.Heal()
		if claim, err := r.Take(t.Context(), "vault-0", now); err != nil || claim.Holder != "vault-0" {
			t.Errorf("claim %+v, error %v; want the own claim resumed", claim, err)
		}
	})
}

func TestErrorsHoldNoPayload(t *testing.T) {
	r, h, _ := newRing(t)
	for _, mode := range []secretmanager.FaultMode{secretmanager.FaultTorn, secretmanager.FaultDeny, secretmanager.FaultUnavailable} {
		h.Fault(secretmanager.Fault{Mode: mode, Method: "AddSecretVersion"})
		err := r.Keep(t.Context(), someKeys())
		h.Heal()
		if err == nil {
			t.Fatalf("%s: no error", mode)
		}
		for _, secret := range []string{"hvs.root", "share 0", "share 4"} {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("%s: the error %v holds a key", mode, err)
			}
		}
	}
}
