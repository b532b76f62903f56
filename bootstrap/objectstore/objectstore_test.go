package objectstore

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// each runs a test against both kinds of store, the bucket on a real server of
// its API.
func each(t *testing.T, test func(*testing.T, Store)) {
	t.Run("folder", func(t *testing.T) { test(t, open(t, Options{URL: "file://" + t.TempDir()})) })
	t.Run("bucket", func(t *testing.T) {
		test(t, open(t, Options{URL: "gs://snapshots/cluster/a", Endpoint: server(t, "snapshots").URL()}))
	})
}

func open(t *testing.T, o Options) Store {
	t.Helper()
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func put(t *testing.T, s Store, name string, content []byte) {
	t.Helper()
	if err := s.Put(t.Context(), name, bytes.NewReader(content)); err != nil {
		t.Fatal(err)
	}
}

func names(t *testing.T, s Store, prefix string) (out []string) {
	t.Helper()
	all, err := s.List(t.Context(), prefix)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range all {
		out = append(out, o.Name)
	}
	return out
}

func TestStore(t *testing.T) {
	each(t, func(t *testing.T, s Store) {
		// More than the bucket sends in one piece, and not a multiple of that.
		big := bytes.Repeat([]byte("0123456789abcdef"), 5<<20/16)
		big = append(big, "end"...)
		before := time.Now().Add(-time.Minute)
		put(t, s, "b", big)
		put(t, s, "a-1", []byte("one"))
		put(t, s, "a-2", nil)
		if got := names(t, s, ""); !slices.Equal(got, []string{"a-1", "a-2", "b"}) {
			t.Errorf("it lists %q", got)
		}
		if got := names(t, s, "a-"); !slices.Equal(got, []string{"a-1", "a-2"}) {
			t.Errorf("with a prefix it lists %q", got)
		}
		all, _ := s.List(t.Context(), "b")
		if len(all) != 1 || all[0].Size != int64(len(big)) || all[0].Created.Before(before) || all[0].Created.After(time.Now().Add(time.Minute)) {
			t.Errorf("it lists %+v; want %d bytes of now", all, len(big))
		}
		r, err := s.Get(t.Context(), "b")
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		if err != nil || !bytes.Equal(got, big) || r.Close() != nil {
			t.Errorf("read %d bytes (error %v), want the %d that were put", len(got), err, len(big))
		}
		if err := s.Delete(t.Context(), "a-1"); err != nil {
			t.Error(err)
		}
		if got := names(t, s, ""); !slices.Equal(got, []string{"a-2", "b"}) {
			t.Errorf("after a delete it lists %q", got)
		}
	})
}

func TestAbsent(t *testing.T) {
	each(t, func(t *testing.T, s Store) {
		if _, err := s.Get(t.Context(), "none"); !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), s.URL("none")) {
			t.Errorf("Get: error %v; want one that says not found, and where", err)
		}
		if err := s.Delete(t.Context(), "none"); !errors.Is(err, ErrNotFound) {
			t.Errorf("Delete: error %v", err)
		}
		for _, name := range []string{"", "..", "../x", "a/b", ".hidden"} {
			if err := s.Put(t.Context(), name, strings.NewReader("x")); !errors.Is(err, ErrName) {
				t.Errorf("Put %q: error %v", name, err)
			}
			if _, err := s.Get(t.Context(), name); !errors.Is(err, ErrName) {
				t.Errorf("Get %q: error %v", name, err)
			}
			if err := s.Delete(t.Context(), name); !errors.Is(err, ErrName) {
				t.Errorf("Delete %q: error %v", name, err)
			}
		}
	})
}

// torn gives n bytes, then fails.
type torn struct {
	n    int
	err  error
	then func()
}

func (r *torn) Read(p []byte) (int, error) {
	if r.n == 0 {
		if r.then != nil {
			r.then()
			return copy(p, "more"), nil
		}
		return 0, r.err
	}
	n := min(len(p), r.n)
	r.n -= n
	return n, nil
}

// TestNeverHalf: a reader that fails, at whatever size, leaves nothing.
func TestNeverHalf(t *testing.T) {
	broken := errors.New("the source broke")
	each(t, func(t *testing.T, s Store) {
		for _, size := range []int{0, 10, chunk - 1, chunk, chunk + 1, 3 * chunk} {
			err := s.Put(t.Context(), "half", &torn{n: size, err: broken})
			if !errors.Is(err, broken) {
				t.Errorf("after %d bytes: error %v; want the source's", size, err)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		if err := s.Put(ctx, "half", &torn{n: chunk + 1, then: cancel}); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: error %v", err)
		}
		if got := names(t, s, ""); len(got) != 0 {
			t.Errorf("it lists %q after writes that failed", got)
		}
		if _, err := s.Get(t.Context(), "half"); !errors.Is(err, ErrNotFound) {
			t.Errorf("Get: error %v; want not found", err)
		}
	})
}

func TestFolderKeepsTheOldOneAndNoLitter(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Options{URL: "file://" + dir})
	put(t, s, "a", []byte("old"))
	abandoned, young := filepath.Join(dir, unfinished+"1"), filepath.Join(dir, unfinished+"2")
	for _, path := range []string{abandoned, young} {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	long := time.Now().Add(-abandonedAfter - time.Hour)
	if err := os.Chtimes(abandoned, long, long); err != nil {
		t.Fatal(err)
	}
	if got := names(t, s, ""); !slices.Equal(got, []string{"a"}) {
		t.Errorf("it lists %q; unfinished ones are no objects", got)
	}
	if err := s.Put(t.Context(), "a", &torn{n: 3, err: io.ErrUnexpectedEOF}); err == nil {
		t.Error("no error")
	}
	if got, _ := os.ReadFile(filepath.Join(dir, "a")); string(got) != "old" {
		t.Errorf("the object became %q though the write failed", got)
	}
	left, _ := filepath.Glob(filepath.Join(dir, unfinished+"*"))
	if !slices.Equal(left, []string{young}) {
		t.Errorf("left are %q; want the young one of another writer only", left)
	}
}

func TestOpenExplains(t *testing.T) {
	for _, o := range []Options{
		{URL: ""}, {URL: "/var/snapshots"}, {URL: "s3://bucket"}, {URL: "file://host/path"}, {URL: "gs:///prefix"}, {URL: "file:relative"}, {URL: "gs://b\x7f"},
		{URL: "gs://b", Endpoint: "storage.test:443"}, {URL: "gs://b", Endpoint: "http://host/path"},
	} {
		if _, err := Open(o); err == nil || !(strings.Contains(err.Error(), "file:///path") || strings.Contains(err.Error(), "http://host:port")) {
			t.Errorf("%+v: error %v; want one that shows the form", o, err)
		}
	}
	for url, want := range map[string]string{"file:///a/b": "file:///a/b/x", "gs://b": "gs://b/x", "gs://b/": "gs://b/x", "gs://b/p/q/": "gs://b/p/q/x"} {
		if got := open(t, Options{URL: url}).URL("x"); got != want {
			t.Errorf("%s: x is at %s, want %s", url, got, want)
		}
	}
}
