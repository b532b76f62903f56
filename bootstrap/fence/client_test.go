package fence

import (
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/vaultproof/vaultproof/bootstrap/registrar"
	"github.com/vaultproof/vaultproof/bootstrap/status"
	"github.com/vaultproof/vaultproof/bootstrap/vault"
	"github.com/vaultproof/vaultproof/pkg/issuer"
)

// The real client's error for a port that nobody listens on is recognised, and
// one of a listener that does not answer is not.
func TestNobodyListens(t *testing.T) {
	ca, err := issuer.NewCA("test", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	caFile := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(caFile, ca.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	own, err := vault.New("https://"+l.Addr().String(), caFile, "localhost")
	if err != nil {
		t.Fatal(err)
	}
	f, err := New(Options{Pod: "vault-0", Pods: []string{"vault-0"}, Self: own, Board: status.NewBoard("vault-0"), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if e := f.evidence(t.Context(), registrar.Said{}, true); e.notActive || e.active {
		t.Errorf("a listener that does not answer is evidence: %+v", e)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if e := f.evidence(t.Context(), registrar.Said{}, true); !e.notActive {
		t.Errorf("no listener is no evidence: %+v", e)
	}
}
