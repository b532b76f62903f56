package target

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/vaultproof/vaultproof/pkg/ceremony"
	"github.com/vaultproof/vaultproof/pkg/ceremony/vaulttest"
	"github.com/vaultproof/vaultproof/pkg/custody"
)

// shelf is a custody that can only be read.
type shelf struct {
	custody.Store
	secrets map[string]string
	err     error // of every call
}

func (s shelf) List(context.Context) (names []string, err error) {
	for name := range s.secrets {
		names = append(names, name)
	}
	slices.Sort(names)
	return names, s.err
}

func (s shelf) Read(_ context.Context, id string) (custody.Secret, error) {
	v, ok := s.secrets[id]
	switch {
	case s.err != nil:
		return custody.Secret{}, s.err
	case !ok:
		return custody.Secret{}, custody.ErrNotFound
	}
	return custody.Secret{Payload: []byte(v)}, nil
}

func withShares(keys []string) *Target {
	s := shelf{secrets: map[string]string{"vault-init-claim": "{}", "other-unseal-share-9": "x", "vault-handover-token": "hvs.handover"}}
	for i, k := range keys {
		s.secrets["vault-unseal-share-"+string(rune('0'+i))] = k
	}
	return &Target{CustodyPrefix: "vault", Custody: s}
}

func TestWithRoot(t *testing.T) {
	v := vaulttest.Start(t)
	reached := 0
	access := func(target *Target) rootAccess {
		shares, err := target.shares(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return rootAccess{shares: shares.Shares, reach: func(context.Context) (*api.Client, func(), error) {
			if reached++; reached == 2 {
				return nil, nil, ErrNoActive // an election, just as a token is to be revoked
			}
			return v.Client(""), func() {}, nil
		}}
	}
	var token string
	boom := errors.New("boom")
	err := access(withShares(v.Keys.KeysB64)).use(t.Context(), func(_ context.Context, root *api.Client) error {
		token = root.Token()
		self, err := root.Auth().Token().LookupSelf()
		if err != nil {
			t.Fatal(err)
		}
		ttl, _ := self.TokenTTL()
		if ttl <= 0 || ttl > rootLife || self.Data["orphan"] != true {
			t.Errorf("it lives for %s, orphan: %v; want one that expires", ttl, self.Data["orphan"])
		}
		if _, err := root.Sys().ListAudit(); err != nil {
			t.Errorf("it is no root token: %v", err)
		}
		return boom
	})
	if !errors.Is(err, boom) || v.Alive(token) {
		t.Errorf("error %v, the token is alive: %t; want it revoked although the work failed", err, v.Alive(token))
	}
	if n := liveRoots(t, v); n != 1 {
		t.Errorf("%d live root tokens, want the first one only", n)
	}

	unused := func(context.Context, *api.Client) error { t.Error("called without a root token"); return nil }
	if err := access(withShares(v.Keys.KeysB64[:2])).use(t.Context(), unused); !errors.Is(err, ErrNoPrivilege) || !errors.Is(err, ceremony.ErrShares) {
		t.Errorf("too few shares: error %v", err)
	}
}

func TestWithRootByAGivenToken(t *testing.T) {
	v := vaulttest.Start(t)
	access := func(given string) rootAccess {
		return rootAccess{given: []byte(given), reach: func(context.Context) (*api.Client, func(), error) { return v.Client(""), func() {}, nil }}
	}
	var token string
	err := access(v.Root().Token()).use(t.Context(), func(_ context.Context, root *api.Client) error {
		token = root.Token()
		_, err := root.Sys().ListAudit()
		return err
	})
	if err != nil || v.Alive(token) || !v.Alive(v.Root().Token()) {
		t.Errorf("error %v, the token made of it is alive: %t, the given one: %t", err, v.Alive(token), v.Alive(v.Root().Token()))
	}
	weak, err := v.Root().Auth().Token().Create(&api.TokenCreateRequest{Policies: []string{"default"}})
	if err != nil {
		t.Fatal(err)
	}
	err = access(weak.Auth.ClientToken).use(t.Context(), func(context.Context, *api.Client) error { t.Error("called"); return nil })
	if !errors.Is(err, ErrNoPrivilege) {
		t.Errorf("a token that is none of an admin: %v", err)
	}
}

// liveRoots counts the tokens with the policy root.
func liveRoots(t *testing.T, v *vaulttest.Vault) (n int) {
	t.Helper()
	list, err := v.Root().Logical().List("auth/token/accessors")
	if err != nil {
		t.Fatal(err)
	}
	for _, accessor := range list.Data["keys"].([]any) {
		s, err := v.Root().Auth().Token().LookupAccessor(accessor.(string))
		if err != nil {
			continue
		}
		if p, _ := s.TokenPolicies(); slices.Contains(p, "root") {
			n++
		}
	}
	return n
}

func TestWithRootWithoutCustody(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	for name, target := range map[string]*Target{
		"no custody":     {CustodyReason: "there is none"},
		"custody denies": {CustodyPrefix: "vault", Custody: shelf{err: custody.ErrDenied}},
	} {
		if err := target.WithRoot(ctx, nil); !errors.Is(err, ErrNoPrivilege) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

func TestStarter(t *testing.T) {
	for name, c := range map[string]struct {
		store shelf
		want  string
		fails bool
	}{
		"there":     {withShares(nil).Custody.(shelf), "hvs.handover", false},
		"not there": {shelf{}, "", false},
		"denied":    {shelf{err: custody.ErrDenied}, "", false},
		"down":      {shelf{err: custody.ErrUnavailable}, "", true},
	} {
		got, err := (&Target{CustodyPrefix: "vault", Custody: c.store}).starter(t.Context())
		if string(got) != c.want || (err != nil) != c.fails {
			t.Errorf("%s: %q, error %v", name, got, err)
		}
	}
}
