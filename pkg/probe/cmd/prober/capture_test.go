package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// segment is an IPv4 packet with a TCP payload.
func segment(from, to string, payload string) []byte {
	a, b := netip.MustParseAddrPort(from), netip.MustParseAddrPort(to)
	raw := make([]byte, 40, 40+len(payload))
	raw[0], raw[9] = 0x45, protocolTCP
	binary.BigEndian.PutUint16(raw[2:], uint16(40+len(payload)))
	copy(raw[12:], a.Addr().AsSlice())
	copy(raw[16:], b.Addr().AsSlice())
	binary.BigEndian.PutUint16(raw[20:], a.Port())
	binary.BigEndian.PutUint16(raw[22:], b.Port())
	raw[32] = 5 << 4
	return append(raw, payload...)
}

func TestSeekerFindsWhatPassesInClear(t *testing.T) {
	const client, pod, other = "10.0.0.9:1000", "10.0.0.1:8200", "10.0.0.2:8200"
	for name, c := range map[string]struct {
		packets [][]byte
		found   int
		seen    int64
	}{
		"to the pod":          {[][]byte{segment(client, pod, "X-Vault-Token: canary\r\n")}, 1, 1},
		"from the pod":        {[][]byte{segment(pod, client, "canary")}, 1, 1},
		"over two packets":    {[][]byte{segment(client, pod, "a can"), segment(client, pod, "ary b"), segment(client, pod, "ary")}, 1, 3},
		"twice":               {[][]byte{segment(client, pod, "canarycanary")}, 2, 1},
		"of two connections":  {[][]byte{segment(client, pod, "can"), segment("10.0.0.9:1001", pod, "ary")}, 0, 2},
		"to another pod":      {[][]byte{segment(client, other, "canary")}, 0, 0},
		"encrypted":           {[][]byte{segment(client, pod, "\x17\x03\x03\x00\x06\x11\x22\x33\x44\x55\x66")}, 0, 1},
		"cut off":             {[][]byte{segment(client, pod, "canary")[:30]}, 0, 0},
		"an empty one":        {[][]byte{segment(client, pod, "")}, 0, 1},
		"something else":      {[][]byte{{0x60}, {}, []byte(strings.Repeat("x", 60))}, 0, 0},
		"with a wrong header": {[][]byte{append(segment(client, pod, "")[:32], 0x10, 0, 0, 0, 0, 0, 0, 0)}, 0, 0},
	} {
		s := newSeeker(netip.MustParseAddr("10.0.0.1"), "veth0", map[string][]byte{"token": []byte("canary")})
		for _, p := range c.packets {
			s.packet(p)
		}
		if s.seen.Found["token"] != c.found || s.seen.Packets != c.seen {
			t.Errorf("%s: found %d in %d packets, want %d in %d", name, s.seen.Found["token"], s.seen.Packets, c.found, c.seen)
		}
	}
}

func TestHostRoute(t *testing.T) {
	const table = `Iface	Destination	Gateway 	Flags	RefCnt	Use	Metric	Mask		MTU	Window	IRTT
eth0	00000000	010012AC	0003	0	0	0	00000000	0	0	0
eth0	0000F40A	030012AC	0003	0	0	0	00FFFFFF	0	0	0
veth1234	0503F40A	00000000	0005	0	0	0	FFFFFFFF	0	0	0
`
	for pod, want := range map[string]string{"10.244.3.5": "veth1234", "10.244.3.6": "", "10.244.0.0": ""} {
		got, err := hostRoute(strings.NewReader(table), netip.MustParseAddr(pod))
		if err != nil || got != want {
			t.Errorf("the route to %s is over %q (%v), want %q", pod, got, err, want)
		}
	}
}

// shared is what a command prints, read while it runs.
type shared struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *shared) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *shared) has(text string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Contains(s.text.String(), text)
}

// found tells whether a line of a capture says that the text was seen.
func (s *shared) found(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for line := range strings.Lines(s.text.String()) {
		var c captured
		if json.Unmarshal([]byte(line), &c) == nil && c.Found[name] > 0 {
			return true
		}
	}
	return false
}

// TestCapture sends a text over loopback, in clear, and wants it to be found there.
func TestCapture(t *testing.T) {
	probe, err := openCapture("lo")
	if errors.Is(err, unix.EPERM) {
		t.Skip("packets may not be captured here: it takes CAP_NET_RAW")
	}
	if err != nil {
		t.Fatal(err)
	}
	_ = unix.Close(probe)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	out := &shared{}
	ended := make(chan error, 1)
	go func() {
		ended <- capture(ctx, out, []string{"-ip", "127.0.0.1", "-find", "token=a-canary-in-clear", "-find", "other=never-sent-by-anyone"})
	}()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = io.Copy(io.Discard, conn)
			_ = conn.Close()
		}
	}()
	for !out.found("token") {
		conn, err := net.Dial("tcp", listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(conn, "X-Vault-Token: a-canary-in-clear\r\n")
		_ = conn.Close()
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			t.Fatal("the text was not found within 20 s")
		}
	}
	if out.found("other") {
		t.Error("a text that was not sent was found")
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestCaptureUsage(t *testing.T) {
	for _, args := range [][]string{nil, {"-ip", "nowhere", "-find", "a=b"}, {"-ip", "10.0.0.1"}, {"-ip", "10.0.0.1", "-find", "a"}, {"-x"}} {
		if err := capture(t.Context(), io.Discard, args); !errors.Is(err, errUsage) {
			t.Errorf("%q says %v, want a usage error", args, err)
		}
	}
}
