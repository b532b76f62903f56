package restore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
	"github.com/vaultproof/vaultproof/bootstrap/objectstore"
	"github.com/vaultproof/vaultproof/bootstrap/snapshot"
	"github.com/vaultproof/vaultproof/bootstrap/storage"
)

// fixed is a token that a test made.
type fixed string

func (f fixed) Token(context.Context) ([]byte, error) { return []byte(f), nil }

// disaster runs a cluster of n, stores data, takes a snapshot, and then takes
// all data away. All pods are up again when it returns, empty.
func disaster(t *testing.T, n int) (r *rig, store objectstore.Store, taken snapshot.Taken) {
	t.Helper()
	r = newRig(t, n)
	for _, p := range r.pods {
		p.startVault()
		p.startSidecar()
	}
	first := r.active()
	first.await("open-active")
	for _, p := range r.pods {
		p.await("open-active", "open-standby")
	}
	root := first.Client(r.secret(r.Ring.Root()))
	must(t, root.Sys().Mount("kv", &api.MountInput{Type: "kv"}))
	for i := range 50 {
		_, err := root.Logical().Write(fmt.Sprintf("kv/%d", i), map[string]any{"v": i})
		must(t, err)
	}
	store, err := objectstore.Open(objectstore.Options{URL: "file://" + t.TempDir()})
	must(t, err)
	taken = take(t, r, first, store)
	for _, p := range r.pods {
		p.stopSidecar()
		p.Kill()
		p.empty()
	}
	for _, p := range r.pods {
		p.startVault()
		p.startSidecar()
	}
	r.pods[0].await("empty-keys-exist")
	return r, store, taken
}

// take takes a snapshot with a token that may do nothing else.
func take(t *testing.T, r *rig, p *pod, store objectstore.Store) snapshot.Taken {
	t.Helper()
	root := p.Client(r.secret(r.Ring.Root()))
	hcl, err := os.ReadFile("../policies/snapshot.hcl")
	must(t, err)
	must(t, root.Sys().PutPolicy("snapshot", string(hcl)))
	s, err := root.Auth().Token().CreateOrphan(&api.TokenCreateRequest{Policies: []string{"snapshot"}, NoDefaultPolicy: true, Period: "1h"})
	must(t, err)
	for _, path := range []string{"kv/1", "sys/mounts", "sys/storage/raft/configuration"} {
		if _, err := p.Client(s.Auth.ClientToken).Logical().Read(path); err == nil {
			t.Errorf("the token for snapshots reads %s", path)
		}
	}
	taker := snapshot.New(snapshot.Options{Source: snapshot.Of(p.own(t)), Tokens: fixed(s.Auth.ClientToken), Store: store, Every: time.Hour, Keep: 3, Log: slog.New(slog.DiscardHandler)})
	taken, err := taker.Take(t.Context())
	must(t, err)
	t.Logf("%+v", taken)
	return taken
}

// attempt is a restore on pod 0.
func attempt(r *rig, store objectstore.Store, name string) *restore {
	p := r.pods[0]
	dir, err := storage.Open(p.markers())
	must(r.T, err)
	return &restore{vault: p.own(r.T), peers: p.peers(), ring: r.Ring, threshold: 3, dir: dir, folder: p.markers(), store: store, name: name,
		log: slog.New(slog.NewJSONHandler(&p.log, nil)), hit: func(string) {},
		restart: func(ctx context.Context, name string) error {
			return r.pods[name[len(name)-1]-'0'].Delete(ctx)
		}}
}

// holds looks whether the data is what it was.
func holds(t *testing.T, p *pod, token string) {
	t.Helper()
	for i := range 50 {
		s, err := p.Client(token).Logical().Read(fmt.Sprintf("kv/%d", i))
		if err != nil || s == nil || fmt.Sprint(s.Data["v"]) != fmt.Sprint(i) {
			t.Fatalf("kv/%d holds %+v, error %v", i, s, err)
		}
	}
}

func clean(t *testing.T, r *rig) {
	t.Helper()
	for _, name := range []string{"fresh", "rebuild", "restoring.snap"} {
		if exists(filepath.Join(r.pods[0].markers(), name)) {
			t.Errorf("%s is left behind", name)
		}
	}
}

// TestRestore loses three Vaults' data, and brings it back, while the others
// ask the Vault that is being restored to join it at the worst moment.
func TestRestore(t *testing.T) {
	r, store, taken := disaster(t, 3)
	a := attempt(r, store, taken.Name)
	asked := 0
	a.hit = func(moment string) {
		if moment != "restore-before-load" {
			return
		}
		// The others have a challenge of a Vault that is about to be no more, and
		// their sidecars submit shares that do not fit it.
		eventually(t, "peer that asks to join", func() error {
			asked = 0
			for _, p := range r.pods[1:] {
				if turn, _ := p.state(); turn.Facts.Initialised {
					asked++
				}
			}
			if asked == 0 {
				return errors.New("none does")
			}
			return nil
		})
	}
	begin := time.Now()
	must(t, a.run(t.Context()))
	t.Logf("restored in %s, %d peers had asked to join", time.Since(begin).Round(time.Millisecond), asked)
	clean(t, r)
	holds(t, r.pods[0], r.secret(r.Ring.Root()))
	r.pods[0].await("open-active")
	names := r.voters(3)
	slices.Sort(names)
	if !slices.Equal(names, []string{"vault-0", "vault-1", "vault-2"}) {
		t.Errorf("raft's servers are %v", names)
	}
	t.Logf("three voters after %s", time.Since(begin).Round(time.Millisecond))
	// Left alone they take more than a minute to ask again.
	if n := strings.Count(r.pods[0].log.String(), "pod restarted"); n < asked {
		t.Errorf("%d pods were restarted, but %d had asked too early", n, asked)
	}
	ids := map[string]bool{}
	for _, p := range r.pods {
		h, err := p.Client("").Sys().Health()
		must(t, err)
		ids[h.ClusterID] = true
	}
	if len(ids) != 1 {
		t.Errorf("the pods belong to %d clusters", len(ids))
	}
	t.Run("another one leads", func(t *testing.T) {
		r.pods[0].stopSidecar()
		r.pods[0].Kill()
		next := r.active()
		holds(t, next, r.secret(r.Ring.Root()))
		if next == r.pods[0] {
			t.Error("the dead Vault leads")
		}
	})
	t.Run("no second restore over data", func(t *testing.T) {
		r.pods[0].empty()
		r.pods[0].startVault()
		eventually(t, "answer", func() error { _, err := r.pods[0].own(t).SealStatus(t.Context()); return err })
		err := attempt(r, store, taken.Name).run(t.Context())
		if !errors.Is(err, ErrHasData) || !strings.Contains(err.Error(), "volume claim") {
			t.Errorf("error %v; want a refusal, for the others have data", err)
		}
	})
	if log := r.pods[0].log.String(); strings.Contains(log, "going on without knowing") || strings.Contains(log, "does not tell how many shares") {
		t.Error("the snapshot of this Vault was not understood")
	}
	for _, p := range r.pods {
		for id := range 5 {
			if strings.Contains(p.log.String(), r.secret(r.Ring.Share(id))) {
				t.Errorf("the log of %s holds a share", p.Name)
			}
		}
	}
}

// TestMainRestoresTheLatest goes through the command line.
func TestMainRestoresTheLatest(t *testing.T) {
	r, store, _ := disaster(t, 1)
	p := r.pods[0]
	place := strings.TrimSuffix(store.URL(""), "/")
	args := []string{"-vault-addr", p.URL(), "-vault-ca", r.Path("ca.crt"), "-custody-endpoint", r.Custody.Endpoint, "-custody-project", "vaultproof-test",
		"-custody-audience", "https://custody.vaultproof.test", "-custody-ca", r.Path("custody-ca.crt"), "-custody-token-file", r.Path("token"),
		"-from", "latest", "-threshold", "2"} // the snapshot knows better
	env := map[string]string{"POD_NAME": p.Name, "STORAGE_DIR": p.markers(), "SNAPSHOT_URL": place}
	log := slog.New(slog.NewJSONHandler(&p.log, nil))
	must(t, Main(t.Context(), args, func(name string) (string, bool) { v, ok := env[name]; return v, ok }, log))
	p.await("open-active")
	holds(t, p, r.secret(r.Ring.Root()))
	if !strings.Contains(p.log.String(), "knows the provisioner token") {
		t.Error("the log does not tell that the provisioner token is alive")
	}
}
