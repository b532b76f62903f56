package kube

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/vaultproof/vaultproof/pkg/issuer"
)

const label = "vault-active"

func TestPod(t *testing.T) {
	s := newAPIServer(t, "vault-0")
	p, err := s.client().Pod(t.Context(), "vault-0")
	must(t, err)
	if p.Name != "vault-0" || p.UID != "uid-of-pod" || p.ResourceVersion != "1" || p.Labels[label] != "false" || p.Annotations["vaultproof.dev/hold"] != "audit" {
		t.Errorf("read %+v", p)
	}
	if _, err := s.client().Pod(t.Context(), "vault-9"); !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "vault-9") {
		t.Errorf("error %v; want ErrNotFound that names the pod", err)
	}
}

func TestSetLabels(t *testing.T) {
	s := newAPIServer(t, "vault-0")
	c := s.client()
	p, err := c.Pod(t.Context(), "vault-0")
	must(t, err)
	must(t, c.SetLabels(t.Context(), p, map[string]string{label: "true"}))
	must(t, c.SetLabels(t.Context(), reread(t, c), map[string]string{"vaultproof.dev/a~b": "x"}))
	if s.label("vault-0", label) != "true" || s.label("vault-0", "vaultproof.dev/a~b") != "x" {
		t.Errorf("labels %v", s.pods["vault-0"].Labels)
	}
	must(t, c.SetLabels(t.Context(), reread(t, c), map[string]string{"vault-sealed": "false", "vault-version": "1.21.1"}))
	if s.label("vault-0", "vault-sealed") != "false" || s.label("vault-0", "vault-version") != "1.21.1" {
		t.Errorf("labels %v", s.pods["vault-0"].Labels)
	}
	// p is three versions old by now.
	if err := c.SetLabels(t.Context(), p, map[string]string{label: "false"}); !errors.Is(err, ErrConflict) {
		t.Errorf("on an old version: error %v; want ErrConflict", err)
	}
	if s.label("vault-0", label) != "true" {
		t.Error("a write on an old version went through")
	}
}

func TestSetLabelsOfPodWithoutLabels(t *testing.T) {
	s := newAPIServer(t, "vault-0")
	s.pods["vault-0"].Labels = nil
	c := s.client()
	must(t, c.SetLabels(t.Context(), reread(t, c), map[string]string{label: "true"}))
	if s.label("vault-0", label) != "true" {
		t.Error("the label is not set")
	}
}

// A pod that changed nothing in its labels is a new version all the same.
func TestSetLabelsAfterAnyChange(t *testing.T) {
	s := newAPIServer(t, "vault-0")
	c := s.client()
	p := reread(t, c)
	s.change("vault-0")
	if err := c.SetLabels(t.Context(), p, map[string]string{label: "true"}); !errors.Is(err, ErrConflict) {
		t.Errorf("error %v; want ErrConflict", err)
	}
}

// 422 for a label that is not accepted is no conflict: trying again is in vain.
func TestSetLabelsRefused(t *testing.T) {
	s := newAPIServer(t, "vault-0")
	c := s.client()
	p := reread(t, c)
	s.refuseLabel = true
	err := c.SetLabels(t.Context(), p, map[string]string{label: "true"})
	if !errors.Is(err, ErrInvalid) || errors.Is(err, ErrConflict) || !strings.Contains(err.Error(), "is invalid") {
		t.Errorf("error %v; want ErrInvalid with the API server's words", err)
	}
}

func TestDelete(t *testing.T) {
	s := newAPIServer(t, "vault-0")
	c := s.client()
	p := reread(t, c)
	other := p
	other.UID = "of-the-pod-before"
	if err := c.Delete(t.Context(), other); !errors.Is(err, ErrConflict) {
		t.Errorf("of another pod of the same name: error %v; want ErrConflict", err)
	}
	must(t, c.Delete(t.Context(), p))
	if err := c.Delete(t.Context(), p); !errors.Is(err, ErrNotFound) {
		t.Errorf("twice: error %v; want ErrNotFound", err)
	}
}

func TestTokenIsReadAnew(t *testing.T) {
	s := newAPIServer(t, "vault-0")
	c := s.client()
	reread(t, c)
	s.mu.Lock()
	s.token = "second"
	s.mu.Unlock()
	_, err := c.Pod(t.Context(), "vault-0")
	if !errors.Is(err, ErrForbidden) || strings.Contains(err.Error(), "first") {
		t.Errorf("with the old token: error %v; want ErrForbidden without the token", err)
	}
	s.mount("token", "second")
	reread(t, c)
}

func TestAnswers(t *testing.T) {
	for name, tt := range map[string]struct {
		answer func(w http.ResponseWriter)
		want   error
		kind   string
		says   string
	}{
		"403": {func(w http.ResponseWriter) {
			fail(w, apierrors.NewForbidden(podResource, "vault-1", errors.New(`User "system:serviceaccount:vault:vault" cannot patch resource "pods"`)))
		}, ErrForbidden, "forbidden", "cannot patch resource"},
		"409": {func(w http.ResponseWriter) {
			fail(w, apierrors.NewConflict(podResource, "vault-0", errors.New("modified")))
		}, ErrConflict, "conflict", "modified"},
		"422": {func(w http.ResponseWriter) {
			fail(w, apierrors.NewInvalid(schema.GroupKind{Kind: "Pod"}, "vault-0", nil))
		}, ErrInvalid, "invalid", "invalid"},
		"429":      {func(w http.ResponseWriter) { fail(w, apierrors.NewTooManyRequests("slow down", 1)) }, ErrUnavailable, "unavailable", "slow down"},
		"500":      {func(w http.ResponseWriter) { fail(w, apierrors.NewInternalError(errors.New("etcd"))) }, ErrUnavailable, "unavailable", "etcd"},
		"no API":   {func(w http.ResponseWriter) { http.Error(w, "<html>bad gateway", http.StatusBadGateway) }, ErrUnavailable, "unavailable", "502"},
		"no JSON":  {func(w http.ResponseWriter) { _, _ = w.Write([]byte("ok")) }, ErrUnavailable, "unavailable", "JSON"},
		"no pod":   {func(w http.ResponseWriter) { _, _ = w.Write([]byte(`{"kind":"Pod"}`)) }, ErrUnavailable, "unavailable", "version"},
		"redirect": {func(w http.ResponseWriter) { w.Header().Set("Location", "https://example.org/"); w.WriteHeader(302) }, ErrUnavailable, "unavailable", "302"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newAPIServer(t, "vault-0")
			s.deny = func(w http.ResponseWriter, _ *http.Request) bool { tt.answer(w); return true }
			_, err := s.client().Pod(t.Context(), "vault-0")
			if !errors.Is(err, tt.want) || Kind(err) != tt.kind || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("error %v, kind %q; want %v, kind %q, with %q", err, Kind(err), tt.want, tt.kind, tt.says)
			}
		})
	}
}

func TestTimeLimit(t *testing.T) {
	s := newAPIServer(t, "vault-0")
	s.deny = func(_ http.ResponseWriter, r *http.Request) bool { <-r.Context().Done(); return true }
	c := s.client()
	if c.timeout != 3*time.Second {
		t.Errorf("a call may take %s; want 3s", c.timeout)
	}
	c.timeout = 50 * time.Millisecond
	if _, err := c.Pod(t.Context(), "vault-0"); !errors.Is(err, ErrUnavailable) {
		t.Errorf("error %v; want ErrUnavailable", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Pod(ctx, "vault-0"); errors.Is(err, ErrUnavailable) || Kind(err) != "canceled" {
		t.Errorf("error %v; the caller gave up, and the API server is not to blame", err)
	}
}

func TestServerIsVerified(t *testing.T) {
	s := newAPIServer(t, "vault-0")
	other, err := issuer.NewCA("other", time.Hour)
	must(t, err)
	s.mount("ca.crt", string(other.PEM()))
	if _, err := s.client().Pod(t.Context(), "vault-0"); !errors.Is(err, ErrUnavailable) || len(s.calls) != 0 {
		t.Errorf("error %v, calls %v; want no request to a server of another CA", err, s.calls)
	}
}

func TestAbsent(t *testing.T) {
	s := newAPIServer(t)
	good := s.config()
	none := func(string) (string, bool) { return "", false }
	if _, err := New(FromEnv(good.TokenFile, none)); !errors.Is(err, ErrAbsent) {
		t.Errorf("outside of a pod: error %v; want ErrAbsent", err)
	}
	if c := FromEnv("", none); c.TokenFile != DefaultTokenFile {
		t.Errorf("token file %q; want the default", c.TokenFile)
	}
	must(t, os.Remove(filepath.Join(s.dir, "ca.crt")))
	if _, err := New(good); !errors.Is(err, ErrAbsent) || !strings.Contains(err.Error(), "-kube-token-file") {
		t.Errorf("nothing mounted: error %v; want ErrAbsent that names the flag", err)
	}
	s.mount("ca.crt", "x")
	s.mount("namespace", " \n")
	if _, err := New(good); err == nil || errors.Is(err, ErrAbsent) {
		t.Errorf("an empty namespace: error %v; want one that is not ErrAbsent", err)
	}
}

func TestIPv6Host(t *testing.T) {
	if got := pods("fd00::1", "443", "vault"); got != "https://[fd00::1]:443/api/v1/namespaces/vault/pods/" {
		t.Errorf("URL %s", got)
	}
}

// The metadata alone is asked for, with plain JSON for errors.
func TestAccept(t *testing.T) {
	s := newAPIServer(t, "vault-0")
	var got string
	s.deny = func(_ http.ResponseWriter, r *http.Request) bool { got = r.Header.Get("Accept"); return false }
	reread(t, s.client())
	if !strings.HasPrefix(got, "application/json;as=PartialObjectMetadata") || !strings.HasSuffix(got, ",application/json") {
		t.Errorf("Accept: %s", got)
	}
}

func reread(t *testing.T, c *Client) Pod {
	t.Helper()
	p, err := c.Pod(t.Context(), "vault-0")
	must(t, err)
	return p
}
