package restore

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/vaultproof/vaultproof/bootstrap/objectstore"
	"github.com/vaultproof/vaultproof/bootstrap/snapshot"
)

// TestRefusals: what cannot work is refused before anything is changed.
func TestRefusals(t *testing.T) {
	r, store, taken := disaster(t, 1)
	untouched := func(t *testing.T) {
		t.Helper()
		if ok, err := r.pods[0].Client("").Sys().InitStatus(); err != nil || ok {
			t.Errorf("initialised: %t, error %v", ok, err)
		}
		clean(t, r)
	}
	raw := contents(t, store, taken.Name)
	for name, content := range map[string][]byte{"torn": raw[:len(raw)-100], "empty": nil, "no-archive": []byte("hello")} {
		t.Run(name, func(t *testing.T) {
			must(t, store.Put(t.Context(), name, bytes.NewReader(content)))
			if err := attempt(r, store, name).run(t.Context()); !errors.Is(err, snapshot.ErrBad) || !strings.Contains(err.Error(), store.URL(name)) {
				t.Errorf("error %v; want one that calls %s bad", err, store.URL(name))
			}
			untouched(t)
		})
	}
	t.Run("none of that name", func(t *testing.T) {
		if err := attempt(r, store, "vault-none.snap").run(t.Context()); !errors.Is(err, objectstore.ErrNotFound) {
			t.Errorf("error %v", err)
		}
		untouched(t)
	})
	t.Run("another restore is under way", func(t *testing.T) {
		release, err := attempt(r, store, taken.Name).dir.Lock()
		must(t, err)
		if err := attempt(r, store, taken.Name).run(t.Context()); err == nil || !strings.Contains(err.Error(), "another restore") {
			t.Errorf("error %v", err)
		}
		must(t, release())
	})
	shares := map[int]string{}
	for i := range 5 {
		shares[i] = r.secret(r.Ring.Share(i))
	}
	t.Run("shares of another Vault", func(t *testing.T) {
		for i, share := range shares {
			must(t, r.Ring.Put(t.Context(), r.Ring.Share(i), spoiled([]byte(share))))
		}
		err := attempt(r, store, taken.Name).run(t.Context())
		if !errors.Is(err, ErrForeign) || !strings.Contains(err.Error(), r.Ring.Share(0)) {
			t.Errorf("error %v; want one that says that the shares do not fit", err)
		}
		untouched(t)
	})
	t.Run("too few shares", func(t *testing.T) {
		for i := range 3 {
			v, err := r.Store.Versions(t.Context(), r.Ring.Share(i))
			must(t, err)
			for _, one := range v {
				must(t, r.Store.Disable(t.Context(), r.Ring.Share(i), one.Name))
			}
		}
		if err := attempt(r, store, taken.Name).run(t.Context()); err == nil || !strings.Contains(err.Error(), "2 of the 3 shares") {
			t.Errorf("error %v; want one that counts them", err)
		}
		untouched(t)
	})
}

// TestForeignFoundLate: a snapshot that does not show whether the shares fit is
// loaded, and found not to be ours. What it left is emptied again.
func TestForeignFoundLate(t *testing.T) {
	r, store, taken := disaster(t, 1)
	raw := contents(t, store, taken.Name)
	const dumb = "vault-dumb.snap"
	must(t, store.Put(t.Context(), dumb, bytes.NewReader(resealed(t, raw))))
	var kept [][]byte
	for i := range 5 {
		kept = append(kept, []byte(r.secret(r.Ring.Share(i))))
		must(t, r.Ring.Put(t.Context(), r.Ring.Share(i), spoiled(kept[i])))
	}
	err := attempt(r, store, dumb).run(t.Context())
	if !errors.Is(err, ErrForeign) || !strings.Contains(err.Error(), "/status") {
		t.Errorf("error %v; want one that says that the shares do not fit, and what comes next", err)
	}
	t.Log(err)
	emptied(t, r.pods[0])
	for i, share := range kept {
		must(t, r.Ring.Put(t.Context(), r.Ring.Share(i), share))
	}
	must(t, attempt(r, store, dumb).run(t.Context()))
	holds(t, r.pods[0], r.secret(r.Ring.Root()))
}

// spoiled gives another share of the same form.
func spoiled(share []byte) []byte {
	raw, err := base64.StdEncoding.DecodeString(string(share))
	if err != nil {
		panic(err)
	}
	raw[0] ^= 1
	return []byte(base64.StdEncoding.EncodeToString(raw))
}

func contents(t *testing.T, store objectstore.Store, name string) []byte {
	t.Helper()
	r, err := store.Get(t.Context(), name)
	must(t, err)
	defer r.Close()
	raw, err := io.ReadAll(r)
	must(t, err)
	return raw
}

// resealed gives the snapshot with an encrypted list of sums that nobody
// understands.
func resealed(t *testing.T, raw []byte) []byte {
	t.Helper()
	packed, err := gzip.NewReader(bytes.NewReader(raw))
	must(t, err)
	var out bytes.Buffer
	repacked := gzip.NewWriter(&out)
	to := tar.NewWriter(repacked)
	for from := tar.NewReader(packed); ; {
		h, err := from.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		must(t, err)
		content, err := io.ReadAll(from)
		must(t, err)
		if h.Name == "SHA256SUMS.sealed" {
			content = []byte("\xff\xff\xff")
		}
		h.Size = int64(len(content))
		must(t, to.WriteHeader(h))
		_, err = to.Write(content)
		must(t, err)
	}
	must(t, to.Close())
	must(t, repacked.Close())
	return out.Bytes()
}
