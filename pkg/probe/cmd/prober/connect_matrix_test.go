package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"strings"
	"testing"
	"time"
)

// listening returns an address that accepts connections until the test ends.
func listening(t *testing.T) net.Listener {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_ = conn.Close()
		}
	}()
	return listener
}

// closed returns an address at which nobody listens.
func closed(t *testing.T) string {
	t.Helper()
	listener := listening(t)
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	return listener.Addr().String()
}

func found(t *testing.T, args ...string) map[string]door {
	t.Helper()
	var out bytes.Buffer
	if err := matrix(t.Context(), &out, append([]string{"-timeout", "1s", "-patience", "600ms"}, args...)); err != nil {
		t.Fatal(err)
	}
	if strings.Count(out.String(), "\n") != 1 {
		t.Errorf("printed %q, want one line", out.String())
	}
	var said doors
	if err := json.Unmarshal(out.Bytes(), &said); err != nil {
		t.Fatal(err)
	}
	by := map[string]door{}
	for _, d := range said.Doors {
		by[d.Want+"="+d.Address] = d
	}
	return by
}

func TestMatrix(t *testing.T) {
	open, shut := listening(t).Addr().String(), closed(t)
	by := found(t, "open="+open, "shut="+shut, "shut="+open, "open="+shut, "try="+shut, "try="+open)
	for name, want := range map[string]bool{"open=" + open: true, "shut=" + open: true, "try=" + open: true, "open=" + shut: false, "shut=" + shut: false, "try=" + shut: false} {
		d, tried := by[name]
		if !tried || d.Open != want || want == (d.Error != "") {
			t.Errorf("%s was found %+v, want open %v", name, d, want)
		}
	}
	// As expected, or tried once.
	for _, name := range []string{"open=" + open, "shut=" + shut, "try=" + shut} {
		if by[name].Attempts != 1 {
			t.Errorf("%s took %d attempts, want 1", name, by[name].Attempts)
		}
	}
	// Not as expected: a policy may not be in force yet.
	for _, name := range []string{"shut=" + open, "open=" + shut} {
		if by[name].Attempts < 2 {
			t.Errorf("%s took %d attempts, want more", name, by[name].Attempts)
		}
	}
}

func TestMatrixWaitsForADoorToOpen(t *testing.T) {
	address := closed(t)
	go func() {
		<-time.After(300 * time.Millisecond)
		listener, err := net.Listen("tcp", address)
		if err != nil {
			return // the port was taken meanwhile, and then it is open too
		}
		t.Cleanup(func() { _ = listener.Close() })
	}()
	if d := found(t, "open="+address)["open="+address]; !d.Open || d.Attempts < 2 {
		t.Errorf("found %+v, want it open at a later attempt", d)
	}
}

func TestMatrixUsage(t *testing.T) {
	for _, args := range [][]string{nil, {"10.1.2.3:8200"}, {"ajar=10.1.2.3:8200"}, {"open=10.1.2.3"}, {"-timeout", "soon", "open=a:1"}} {
		if err := matrix(t.Context(), &bytes.Buffer{}, args); !errors.Is(err, errUsage) {
			t.Errorf("%q says %v, want a usage error", args, err)
		}
	}
}

func TestMatrixThatIsInterruptedSaysNothing(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out bytes.Buffer
	if err := matrix(ctx, &out, []string{"shut=" + closed(t)}); !errors.Is(err, context.Canceled) || out.Len() > 0 {
		t.Errorf("printed %q (%v), want nothing: an interrupted attempt is no shut door", out.String(), err)
	}
}
