package tenancy

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"testing"

	"github.com/vaultproof/vaultproof/pkg/ingress"
)

func TestADoorThatPassesTLSThroughIsTheWayIn(t *testing.T) {
	open := ingress.Entry{Name: "pod a", DialTLS: func(context.Context) (net.Conn, error) { return nil, errors.New("dialled") }}
	for name, test := range map[string]struct {
		door ingress.Door
		want string // address
	}{
		"open":          {ingress.Door{Host: "vault.example.com", Passthrough: true, Entries: []ingress.Entry{open}}, "https://vault.example.com:443"},
		"wildcard":      {ingress.Door{Host: "*.example.com", Passthrough: true, Entries: []ingress.Entry{open}}, "https://vault.example.com:443"},
		"ends TLS":      {ingress.Door{Host: "vault.example.com", Entries: []ingress.Entry{open}}, ""},
		"nobody serves": {ingress.Door{Host: "vault.example.com", Passthrough: true}, ""},
		"no name":       {ingress.Door{Passthrough: true, Entries: []ingress.Entry{open}}, ""},
	} {
		got, err := newDoor([]ingress.Door{test.door}, &tls.Config{MinVersion: tls.VersionTLS12})
		switch {
		case test.want == "" && !errors.Is(err, ErrNoDoor):
			t.Errorf("%s: the door is taken, or refused for another reason: %v", name, err)
		case test.want != "" && (err != nil || got.Address != test.want):
			t.Errorf("%s: the way in is %v (%v), want %q", name, got, err, test.want)
		}
	}
	if _, err := newDoor(nil, &tls.Config{MinVersion: tls.VersionTLS12}); !errors.Is(err, ErrNoDoor) {
		t.Errorf("there is a way in where there is no door: %v", err)
	}
}

// A pod that is gone costs a dial once, not each time.
func TestTheEntryThatWorkedIsTriedFirst(t *testing.T) {
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	dialled := ""
	broken := true
	way := NewWay(
		func(context.Context) (net.Conn, error) { dialled += "a"; return nil, errors.New("a is gone") },
		func(context.Context) (net.Conn, error) {
			dialled += "b"
			if broken {
				return nil, errors.New("b is gone")
			}
			return near, nil
		},
	)
	if _, err := way.Dial(t.Context()); err == nil || !strings.Contains(err.Error(), "a is gone") || !strings.Contains(err.Error(), "b is gone") {
		t.Errorf("with nobody there: %v", err)
	}
	broken = false
	for range 2 {
		if conn, err := way.Dial(t.Context()); err != nil || conn != near {
			t.Errorf("dialling: %v", err)
		}
	}
	if dialled != "ababb" {
		t.Errorf("dialled %s, want ababb", dialled)
	}
}
