package objectstore

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/fsouza/fake-gcs-server/fakestorage"
)

// server runs an implementation of Cloud Storage's API, in memory.
func server(t *testing.T, buckets ...string) *fakestorage.Server {
	t.Helper()
	s, err := fakestorage.NewServerWithOptions(fakestorage.Options{Scheme: "http", Host: "127.0.0.1", Writer: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	for _, b := range buckets {
		s.CreateBucketWithOpts(fakestorage.CreateBucketOpts{Name: b})
	}
	return s
}

// TestBucketSeesItsPrefixOnly: several clusters may share a bucket.
func TestBucketSeesItsPrefixOnly(t *testing.T) {
	srv := server(t, "shared")
	one := open(t, Options{URL: "gs://shared/one", Endpoint: srv.URL()})
	other := open(t, Options{URL: "gs://shared/one-more", Endpoint: srv.URL()})
	top := open(t, Options{URL: "gs://shared", Endpoint: srv.URL()})
	put(t, one, "a", []byte("1"))
	put(t, other, "a", []byte("2"))
	put(t, top, "b", []byte("3"))
	for s, want := range map[Store][]string{one: {"a"}, other: {"a"}, top: {"b"}} {
		if got := names(t, s, ""); !slices.Equal(got, want) {
			t.Errorf("%s lists %q, want %q", s.URL(""), got, want)
		}
	}
	if o, err := srv.GetObject("shared", "one/a"); err != nil || string(o.Content) != "1" {
		t.Errorf("one/a holds %q, error %v", o.Content, err)
	}
}

func TestBucketExplains(t *testing.T) {
	srv := server(t)
	s := open(t, Options{URL: "gs://missing/p", Endpoint: srv.URL()})
	if err := s.Put(t.Context(), "x", strings.NewReader("x")); !errors.Is(err, ErrNotFound) {
		t.Errorf("no such bucket: error %v", err)
	}
	deny := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, `{"error":{"code":403,"message":"caller does not have storage.objects.list access"}}`)
	}))
	defer deny.Close()
	s = open(t, Options{URL: "gs://b/p", Endpoint: deny.URL})
	if _, err := s.List(t.Context(), ""); !errors.Is(err, ErrDenied) || !strings.Contains(err.Error(), "roles/storage.objectUser on bucket b") {
		t.Errorf("denied: error %v; want one that names the role", err)
	}
}

// TestBucketHoldsTheSumAgainstTheServers: what arrived damaged is no object.
func TestBucketHoldsTheSumAgainstTheServers(t *testing.T) {
	var deleted string
	liar := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodDelete {
			deleted = r.URL.Path
			w.WriteHeader(http.StatusNoContent)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"size":"5","crc32c":"AAAAAA=="}`)
	}))
	defer liar.Close()
	s := open(t, Options{URL: "gs://b/p", Endpoint: liar.URL})
	if err := s.Put(t.Context(), "x", strings.NewReader("hello")); err == nil || !strings.Contains(err.Error(), "CRC32C") {
		t.Errorf("error %v; want one about the sum", err)
	}
	if deleted != "/storage/v1/b/b/o/p/x" {
		t.Errorf("deleted %q; want the damaged object", deleted)
	}
}
