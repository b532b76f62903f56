package status

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/vaultproof/vaultproof/bootstrap/vault"
	"github.com/vaultproof/vaultproof/pkg/issuer"
)

// listener is a Vault that answers seal as its seal status, with a certificate that can
// be replaced.
type listener struct {
	t      *testing.T
	url    string
	served atomic.Pointer[tls.Certificate]
	seal   string
}

func listen(t *testing.T, seal string) *listener {
	t.Helper()
	l := &listener{t: t, seal: seal}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, l.seal) }))
	server.TLS = &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return l.served.Load(), nil }}
	server.Config.ErrorLog = nil
	server.StartTLS()
	t.Cleanup(server.Close)
	l.url = server.URL
	return l
}

// serve takes a new certificate by a CA, in use for new connections.
func (l *listener) serve(ca *issuer.CA) {
	l.t.Helper()
	pair, err := ca.Server("vault", []string{"localhost"}, time.Hour)
	if err != nil {
		l.t.Fatal(err)
	}
	served, err := tls.X509KeyPair(pair.Cert, pair.Key)
	if err != nil {
		l.t.Fatal(err)
	}
	l.served.Store(&served)
}

// surroundings looks at the listener with trust in a CA.
func (l *listener) surroundings(ca *issuer.CA) Surroundings {
	l.t.Helper()
	dir := l.t.TempDir()
	caFile := filepath.Join(dir, "ca.crt")
	if err := os.WriteFile(caFile, ca.PEM(), 0o600); err != nil {
		l.t.Fatal(err)
	}
	own, err := vault.New(l.url, caFile, "localhost")
	if err == nil {
		own, err = own.Fresh()
	}
	if err != nil {
		l.t.Fatal(err)
	}
	return Surroundings{Vault: own, StorageDir: dir}
}

func authority(t *testing.T) *issuer.CA {
	t.Helper()
	ca, err := issuer.NewCA("test", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

const (
	open     = `{"initialized":true,"sealed":false,"t":3,"n":5}`
	shut     = `{"initialized":true,"sealed":true,"t":3,"n":5}`
	empty    = `{"initialized":false,"sealed":true}`
	expelled = `{"initialized":true,"sealed":false,"removed_from_cluster":true}`
)

// TestReadyIsWhatTheOwnVaultAnswers: nothing that custody or provisioning do matters,
// which Ready of the status would show.
func TestReadyIsWhatTheOwnVaultAnswers(t *testing.T) {
	ca, other := authority(t), authority(t)
	for name, c := range map[string]struct {
		seal    string
		serves  *issuer.CA
		machine Status
		want    string // in the reason; ready if empty
	}{
		"open":                        {open, ca, Status{State: "serving", Ready: true}, ""},
		"open, and custody is down":   {open, ca, Status{State: "unsealed", Why: "provisioning is not through: custody does not answer"}, ""},
		"sealed":                      {shut, ca, Status{State: "serving", Ready: true}, "sealed"},
		"empty":                       {empty, ca, Status{}, "not initialised"},
		"removed":                     {expelled, ca, Status{}, "removed"},
		"open, without its data":      {open, ca, Status{State: "blocked", Restore: true}, "restore"},
		"open, by an unknown CA":      {open, other, Status{State: "serving", Ready: true}, "x509"},
		"no answer that can be taken": {"junk", ca, Status{State: "serving", Ready: true}, "seal status"},
	} {
		l := listen(t, c.seal)
		l.serve(c.serves)
		b := NewBoard("vault-0")
		b.Surround(l.surroundings(ca))
		b.Set(c.machine, false)
		code, body := get(t, b, "/readyz")
		if want := map[bool]int{true: http.StatusOK, false: http.StatusServiceUnavailable}[c.want == ""]; code != want || !strings.Contains(body, c.want) {
			t.Errorf("%s: %d %s; want %d and %q", name, code, body, want, c.want)
		}
	}
	if code, body := get(t, NewBoard("vault-0"), "/readyz"); code != http.StatusServiceUnavailable || !strings.Contains(body, "just started") {
		t.Errorf("before Vault was looked at: %d %s", code, body)
	}
}

// TestReadyEndsWithTheRightCertificate: a connection that was made before is no proof.
func TestReadyEndsWithTheRightCertificate(t *testing.T) {
	ca := authority(t)
	l := listen(t, open)
	l.serve(ca)
	b := NewBoard("vault-0")
	b.Surround(l.surroundings(ca))
	if code, body := get(t, b, "/readyz"); code != http.StatusOK {
		t.Fatalf("%d %s", code, body)
	}
	l.serve(ca)
	if code, body := get(t, b, "/readyz"); code != http.StatusOK {
		t.Errorf("after a renewal: %d %s", code, body)
	}
	l.serve(authority(t))
	if code, body := get(t, b, "/readyz"); code != http.StatusServiceUnavailable || !strings.Contains(body, "x509") {
		t.Errorf("with a certificate of another CA: %d %s", code, body)
	}
}

// silent is a Vault that takes a question and never answers.
type silent struct{ Vault }

func (silent) SealStatus(ctx context.Context) (vault.Seal, error) {
	<-ctx.Done()
	return vault.Seal{}, ctx.Err()
}

func TestReadyDoesNotWaitForLong(t *testing.T) {
	b := NewBoard("vault-0")
	b.Surround(Surroundings{Vault: silent{}})
	ctx, cancel := context.WithTimeout(t.Context(), lookTimeout+10*time.Second)
	defer cancel()
	if err := b.unready(ctx); !errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil {
		t.Errorf("got %v, want an end after %s", err, lookTimeout)
	}
}

func TestSurroundings(t *testing.T) {
	ca := authority(t)
	l := listen(t, open)
	l.serve(ca)
	s := l.surroundings(ca)
	if n := testutil.CollectAndCount(s); n != 3 {
		t.Errorf("%d gauges, want 3", n)
	}
	l.serve(authority(t))
	s.StorageDir = filepath.Join(s.StorageDir, "absent")
	if n := testutil.CollectAndCount(s); n != 0 {
		t.Errorf("%d gauges of what cannot be seen", n)
	}
}
