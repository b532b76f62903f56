package provision

import (
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
	"github.com/vaultproof/vaultproof/bootstrap/keys"
	"github.com/vaultproof/vaultproof/bootstrap/policies"
	"github.com/vaultproof/vaultproof/bootstrap/vault"
	"github.com/vaultproof/vaultproof/fixtures/secretmanager"
	"github.com/vaultproof/vaultproof/fixtures/secretmanager/secretmanagertest"
	"github.com/vaultproof/vaultproof/pkg/ceremony"
	"github.com/vaultproof/vaultproof/pkg/ceremony/vaulttest"
	"github.com/vaultproof/vaultproof/pkg/custody"
)

// rig is a real Vault and a real custody, with the keys in it.
type rig struct {
	*Provisioner
	t       *testing.T
	real    *vaulttest.Vault
	custody *secretmanagertest.Harness
	store   *custody.Client
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, real: vaulttest.Start(t), custody: secretmanagertest.Start(t)}
	r.custody.Grant("vault", "vault", secretmanager.RoleAdmin, "vault-")
	r.store = r.custody.Client(r.custody.Config("vault", "vault"))
	own, err := vault.New(r.real.Address, r.real.CAFile, "localhost")
	r.must(err)
	hcl, err := policies.Load("")
	r.must(err)
	ring := &keys.Ring{Store: r.store, Prefix: "vault", Shares: vaulttest.Shares}
	r.must(ring.Put(t.Context(), ring.Root(), []byte(r.real.Keys.RootToken)))
	r.Provisioner = &Provisioner{Vault: own, Ring: ring, Custody: r.store, Policies: hcl, Period: 24 * time.Hour,
		Pod: "vault-1", Namespace: "safe", Log: slog.New(slog.DiscardHandler)}
	return r
}

func (r *rig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

// ensure is one pass that must succeed, with a reservation that holds every
// word given, and none if none is.
func (r *rig) ensure(words ...string) Result {
	r.t.Helper()
	got, err := r.Ensure(r.t.Context())
	r.must(err)
	if (len(words) == 0) != (got.Reservation == "") {
		r.t.Fatalf("reservation %q, want one with %q", got.Reservation, words)
	}
	for _, w := range words {
		if !strings.Contains(got.Reservation, w) {
			r.t.Errorf("reservation %q does not say %q", got.Reservation, w)
		}
	}
	return got
}

// secret reads a secret of custody.
func (r *rig) secret(id string) string {
	r.t.Helper()
	s, err := r.store.Read(r.t.Context(), id)
	r.must(err)
	return string(s.Payload)
}

// states are the versions of a secret, oldest first: "disabled enabled".
func (r *rig) states(id string) string {
	r.t.Helper()
	versions, err := r.store.Versions(r.t.Context(), id)
	r.must(err)
	var out []string
	for _, v := range slices.Backward(versions) {
		out = append(out, string(v.State))
	}
	return strings.Join(out, " ")
}

// everything is the state of each version of each secret.
func (r *rig) everything() map[string]string {
	r.t.Helper()
	ids, err := r.store.List(r.t.Context())
	r.must(err)
	all := map[string]string{}
	for _, id := range ids {
		all[id] = r.states(id)
	}
	return all
}

func (r *rig) unchanged(before map[string]string) {
	r.t.Helper()
	if now := r.everything(); !maps.Equal(before, now) {
		r.t.Errorf("custody went from %v to %v", before, now)
	}
}

// root is another root token, for the test alone.
func (r *rig) root() *api.Client {
	r.t.Helper()
	var shares []string
	shares = append(shares, r.real.Keys.KeysB64...)
	token, err := ceremony.Root(r.t.Context(), r.real.Client(""), keysOf(shares), nil)
	r.must(err)
	return r.real.Client(string(token))
}

// breakGlass stores another root token, as the command does, and returns it.
func (r *rig) breakGlass() string {
	r.t.Helper()
	token := r.root().Token()
	r.must(r.Ring.Put(r.t.Context(), r.Ring.Root(), []byte(token)))
	return token
}

// kill revokes a token that is in custody.
func (r *rig) kill(token string) {
	r.t.Helper()
	root := r.root()
	r.must(root.Auth().Token().RevokeTree(token))
	r.must(ceremony.Revoke(r.t.Context(), root))
}

// fit tells whether a token is an orphan with a period and one policy.
func (r *rig) fit(token, policy string) error {
	s, err := r.real.Client(token).Auth().Token().LookupSelf()
	if err != nil {
		return err
	}
	have, _ := s.TokenPolicies()
	ttl, _ := s.TokenTTL()
	if s.Data["orphan"] != true || s.Data["renewable"] != true || fmt.Sprint(s.Data["period"]) != "86400" || !slices.Equal(have, []string{policy}) || ttl < 23*time.Hour {
		return fmt.Errorf("orphan %v, renewable %v, period %v, policies %v, time to live %s", s.Data["orphan"], s.Data["renewable"], s.Data["period"], have, ttl)
	}
	return nil
}
