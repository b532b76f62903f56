package tls

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/vaultproof/vaultproof/pkg/ingress"
)

func TestSameCertificate(t *testing.T) {
	vault, server := fakeVault(t, publicHost)
	edge, _ := certified(t, time.Hour, publicHost)
	d, e := doorThrough(passthrough(t, publicHost, vault))
	says(t, "a door that passes TLS through", sameCertificate(t.Context(), d, e, vault), "")
	d, e = doorThrough(terminating(t, edge, server))
	says(t, "a door that terminates TLS, with a certificate for the same host", sameCertificate(t.Context(), d, e, vault), "TLS is terminated before Vault")
	d, e = doorThrough(passthrough(t, "other.example.org", vault))
	says(t, "a door that knows another host", sameCertificate(t.Context(), d, e, vault), "want the certificate of the active pod")
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	d, e = doorThrough(to(closed.Addr().String()))
	if err := sameCertificate(t.Context(), d, e, vault); !isUnreachable(err) || !strings.Contains(err.Error(), "refused") {
		t.Errorf("a door that nobody opens: %v, want that it is out of reach", err)
	}
}

func TestADoorThatNobodyServesIsToldOf(t *testing.T) {
	open, _ := doorThrough(nil)
	closed := open
	closed.Object, closed.Entries = "Ingress web/old", nil
	d := sorted([]ingress.Door{open, closed})
	if len(d.open) != 1 || d.open[0].Object != open.Object {
		t.Errorf("open are %+v", d.open)
	}
	says(t, "one of two is closed", d.all(), "Ingress web/old")
	says(t, "all are open", sorted([]ingress.Door{open}).all(), "")
}
