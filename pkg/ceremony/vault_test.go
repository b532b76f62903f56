package ceremony

import (
	"context"
	"errors"
	"testing"

	"github.com/hashicorp/vault/api"
	"github.com/vaultproof/vaultproof/pkg/ceremony/vaulttest"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func sharesOf(keys ...string) Shares {
	return func(_ context.Context, n int) ([][]byte, error) {
		var out [][]byte
		for _, k := range keys[:min(n, len(keys))] {
			out = append(out, []byte(k))
		}
		return out, nil
	}
}

func TestWithARealVault(t *testing.T) {
	v := vaulttest.Start(t)
	client, keys := v.Client(""), v.Keys
	as := func(token []byte) *api.Client {
		c, err := client.Clone()
		must(t, err)
		c.SetToken(string(token))
		return c
	}
	idle := func() {
		t.Helper()
		if s, err := client.Sys().GenerateRootStatus(); err != nil || s.Started {
			t.Errorf("an attempt is left: %+v, error %v", s, err)
		}
	}
	t.Run("base64 shares make a root token, which can be revoked", func(t *testing.T) {
		token, err := Root(t.Context(), client, sharesOf(keys.KeysB64[2:]...), nil)
		must(t, err)
		idle()
		if string(token) == keys.RootToken {
			t.Error("it is the first root token")
		}
		if _, err := as(token).Sys().ListPolicies(); err != nil {
			t.Errorf("it is no root token: %v", err)
		}
		must(t, Revoke(t.Context(), as(token)))
		must(t, Revoke(t.Context(), as(token))) // again
		if _, err := as(token).Sys().ListPolicies(); err == nil {
			t.Error("it is alive after it was revoked")
		}
	})
	t.Run("hex shares do, too", func(t *testing.T) {
		token, err := Root(t.Context(), client, sharesOf(keys.Keys...), []byte("of no use before 2.0"))
		must(t, err)
		must(t, Revoke(t.Context(), as(token)))
	})
	t.Run("too few shares", func(t *testing.T) {
		if _, err := Root(t.Context(), client, sharesOf(keys.KeysB64[:2]...), nil); !errors.Is(err, ErrShares) {
			t.Errorf("error %v", err)
		}
		idle()
	})
	t.Run("shares of another Vault", func(t *testing.T) {
		other := []string{keys.KeysB64[0], keys.KeysB64[1], "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyAh"}
		if _, err := Root(t.Context(), client, sharesOf(other...), nil); !errors.Is(err, ErrShares) {
			t.Errorf("error %v", err)
		}
		idle()
	})
	t.Run("somebody else's attempt is left alone", func(t *testing.T) {
		theirs, err := client.Sys().GenerateRootInit("", "")
		must(t, err)
		if _, err := Root(t.Context(), client, sharesOf(keys.KeysB64...), nil); !errors.Is(err, ErrBusy) {
			t.Errorf("error %v", err)
		}
		if s, err := client.Sys().GenerateRootStatus(); err != nil || s.Nonce != theirs.Nonce {
			t.Errorf("their attempt is gone: %+v, error %v", s, err)
		}
	})
}
