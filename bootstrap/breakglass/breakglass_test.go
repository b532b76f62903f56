package breakglass

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/vaultproof/vaultproof/bootstrap/keys"
	"github.com/vaultproof/vaultproof/fixtures/secretmanager"
	"github.com/vaultproof/vaultproof/fixtures/secretmanager/secretmanagertest"
	"github.com/vaultproof/vaultproof/pkg/ceremony/vaulttest"
	"github.com/vaultproof/vaultproof/pkg/custody"
)

// rig is a real Vault with its shares in a real custody.
type rig struct {
	t       *testing.T
	real    *vaulttest.Vault
	custody *secretmanagertest.Harness
	store   *custody.Client
	ring    *keys.Ring
	env     map[string]string
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, real: vaulttest.Start(t), custody: secretmanagertest.Start(t)}
	r.custody.Grant("vault", "vault", secretmanager.RoleAdmin, "vault-")
	r.store = r.custody.Client(r.custody.Config("vault", "vault"))
	r.ring = &keys.Ring{Store: r.store, Prefix: "vault", Shares: vaulttest.Shares}
	for i, share := range r.real.Keys.KeysB64 {
		r.must(r.ring.Put(t.Context(), r.ring.Share(i), []byte(share)))
	}
	r.env = map[string]string{
		"VAULT_ADDR": r.real.Address, "VAULT_CA": r.real.CAFile,
		"CUSTODY_ENDPOINT": r.custody.Endpoint, "CUSTODY_PROJECT": secretmanagertest.Project, "CUSTODY_AUDIENCE": secretmanagertest.Audience,
		"CUSTODY_CA": r.file("ca.crt", r.custody.CAPEM), "CUSTODY_TOKEN_FILE": r.file("token", []byte(r.custody.Token("vault", "vault"))),
		"SHARES": strconv.Itoa(vaulttest.Shares),
	}
	return r
}

func (r *rig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) file(name string, content []byte) string {
	path := filepath.Join(r.t.TempDir(), name)
	r.must(os.WriteFile(path, content, 0o600))
	return path
}

// run is the command as kubectl exec would run it, and its log.
func (r *rig) run(args ...string) (log string, err error) {
	var out bytes.Buffer
	err = Main(r.t.Context(), args, func(name string) (string, bool) { v, ok := r.env[name]; return v, ok },
		slog.New(slog.NewJSONHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug})))
	return out.String(), err
}

// root is the newest root token in custody, or "".
func (r *rig) root() string {
	s, err := r.store.Read(r.t.Context(), r.ring.Root())
	if err != nil {
		return ""
	}
	return string(s.Payload)
}

func (r *rig) states() (out []custody.State) {
	versions, err := r.store.Versions(r.t.Context(), r.ring.Root())
	r.must(err)
	for _, v := range slices.Backward(versions) {
		out = append(out, v.State)
	}
	return out
}

// idle fails the test if an attempt is in progress.
func (r *rig) idle() {
	r.t.Helper()
	if s, err := r.real.Client("").Sys().GenerateRootStatus(); err != nil || s.Started {
		r.t.Errorf("an attempt is left: %+v, error %v", s, err)
	}
}

func TestBreakGlass(t *testing.T) {
	r := newRig(t)
	log, err := r.run()
	r.must(err)
	token := r.root()
	if _, err := r.real.Client(token).Sys().ListPolicies(); err != nil {
		t.Fatalf("custody holds no root token: %v", err)
	}
	r.idle()
	t.Run("one line, with the name and the version, and no secret", func(t *testing.T) {
		var line struct{ Secret, Version string }
		if err := json.Unmarshal([]byte(log), &line); err != nil || line.Secret != "vault-root-token" || line.Version != "1" {
			t.Errorf("log %q", log)
		}
		for _, s := range append(slices.Clone(r.real.Keys.KeysB64), token) {
			if strings.Contains(log, s) {
				t.Error("the log holds a secret")
			}
		}
	})
	t.Run("again, while it is alive", func(t *testing.T) {
		log, err := r.run()
		r.must(err)
		if r.root() != token || len(r.states()) != 1 || !strings.Contains(log, "already") {
			t.Errorf("versions %v, log %s; want the same token", r.states(), log)
		}
	})
	t.Run("revoke, twice", func(t *testing.T) {
		for range 2 {
			log, err := r.run("-revoke")
			r.must(err)
			if r.real.Alive(token) || !slices.Equal(r.states(), []custody.State{custody.Destroyed}) || strings.Contains(log, token) {
				t.Errorf("alive %t, versions %v, log %s", r.real.Alive(token), r.states(), log)
			}
		}
	})
	t.Run("custody does not take it", func(t *testing.T) {
		r.custody.Fault(secretmanager.Fault{Mode: secretmanager.FaultDeny, Method: "AddSecretVersion"})
		defer r.custody.Heal()
		before := r.roots()
		log, err := r.run()
		if err == nil || !strings.Contains(err.Error(), "so it is revoked") || !strings.Contains(err.Error(), r.ring.Root()) {
			t.Errorf("error %v, log %s", err, log)
		}
		if now := r.roots(); now != before {
			t.Errorf("%d live root tokens, and %d before", now, before)
		}
	})
	t.Run("custody withholds the shares", func(t *testing.T) {
		for i := range 3 {
			r.custody.Fault(secretmanager.Fault{Mode: secretmanager.FaultDeny, Secret: r.ring.Share(i)})
		}
		defer r.custody.Heal()
		_, err := r.run()
		if err == nil || !strings.Contains(err.Error(), r.ring.Share(2)) || !strings.Contains(err.Error(), "2 of the 3 shares") {
			t.Errorf("error %v, want one that counts and names what is missing", err)
		}
		r.idle()
	})
	t.Run("two shares lost", func(t *testing.T) {
		for _, i := range []int{0, 3} {
			r.must(r.store.Disable(t.Context(), r.ring.Share(i), "1"))
		}
		if _, err := r.run(); err != nil || !r.real.Alive(r.root()) {
			t.Errorf("error %v, want a root token out of the others", err)
		}
		_, err := r.run("-revoke")
		r.must(err)
	})
	t.Run("the handover token is read, and an admin token from a file", func(t *testing.T) {
		r.must(r.ring.Put(t.Context(), r.ring.Handover(), []byte("hvs.handover")))
		if _, err := r.run("-admin-token-file", r.file("admin", []byte("hvs.admin\n"))); err != nil {
			t.Error(err)
		}
		_, err := r.run("-revoke")
		r.must(err)
		for file, want := range map[string]string{r.file("none", []byte(" \n")): "empty", "/nonexistent": "-admin-token-file"} {
			if _, err := r.run("-admin-token-file", file); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: error %v", file, err)
			}
		}
	})
	t.Run("told to stop on the way", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		err := Main(ctx, nil, func(name string) (string, bool) { v, ok := r.env[name]; return v, ok }, slog.New(slog.NewJSONHandler(io.Discard, nil)))
		if err == nil {
			t.Error("it went on")
		}
		r.idle()
	})
	t.Run("a sealed Vault", func(t *testing.T) {
		r.must(r.real.Root().Sys().Seal())
		if _, err := r.run(); err == nil || !strings.Contains(err.Error(), "unsealed") {
			t.Errorf("error %v", err)
		}
	})
}

// roots counts Vault's live root tokens.
func (r *rig) roots() (n int) {
	r.t.Helper()
	list, err := r.real.Root().Logical().List("auth/token/accessors")
	r.must(err)
	for _, a := range list.Data["keys"].([]any) {
		s, err := r.real.Root().Auth().Token().LookupAccessor(a.(string))
		if err != nil {
			continue
		}
		if p, _ := s.TokenPolicies(); slices.Contains(p, "root") {
			n++
		}
	}
	return n
}

func TestParse(t *testing.T) {
	none := func(string) (string, bool) { return "", false }
	if c, err := parse([]string{"-custody-project=p", "-shares=7", "-revoke"}, none); err != nil || c.shares != 7 || !c.revoke || c.Prefix != "vault" {
		t.Errorf("%+v, error %v", c, err)
	}
	for _, args := range [][]string{{}, {"-custody-project=p", "-shares=0"}, {"-custody-project=p", "now"}, {"-custody-project=p", "-custody-prefix="}} {
		if _, err := parse(args, none); err == nil {
			t.Errorf("%q was taken", args)
		}
	}
}

func TestPodOf(t *testing.T) {
	for address, want := range map[string][2]string{
		"https://vault-1.vault-internal.safe.svc.cluster.local:8200": {"safe", "vault-1"}, "https://vault-1.vault-internal:8200": {"", "vault-1"},
		"https://vault-2:8200": {"", "vault-2"}, "": {},
	} {
		if namespace, pod := podOf(address); namespace != want[0] || pod != want[1] {
			t.Errorf("%s is pod %q in %q, want %v", address, pod, namespace, want)
		}
	}
}
