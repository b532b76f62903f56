package fakevault

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"time"

	"google.golang.org/grpc/test/bufconn"
)

// NewInMemory starts a server that is reached through Dial alone. It uses no
// sockets, so a test in a synctest bubble has a clock of its own, and what it
// measures does not depend on how busy the machine is.
func NewInMemory(hostname string) *Server {
	s := newServer(hostname)
	s.memory = bufconn.Listen(64 << 10)
	s.Server = &httptest.Server{Listener: listener{s.memory}, Config: &http.Server{Handler: http.HandlerFunc(s.serve), ErrorLog: quiet()}}
	s.StartTLS()
	return s
}

// Dial connects to a server in memory.
func (s *Server) Dial(ctx context.Context, _, _ string) (net.Conn, error) {
	s.mu.Lock()
	s.dials++
	refuse := s.refuse
	s.mu.Unlock()
	if refuse != nil {
		return nil, refuse
	}
	return s.memory.DialContext(ctx)
}

// Dials counts the connections that were asked for.
func (s *Server) Dials() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dials
}

// Refuse makes Dial fail with err; nil ends that.
func (s *Server) Refuse(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuse = err
}

// listener gives a listener in memory the address that httptest asks for.
type listener struct{ *bufconn.Listener }

func (listener) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8200} }

// Accept gives a connection whose deadlines never lie in the past.
func (l listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return soon{c}, nil
}

// soon puts off a deadline in the past, with which net/http breaks a read off, by a
// nanosecond: in a synctest bubble a timer that is due already fires on the
// goroutine that sets it, which under the race detector can crash Go 1.26
// (golang/go#78156).
type soon struct{ net.Conn }

func (c soon) SetReadDeadline(t time.Time) error {
	if now := time.Now(); !t.IsZero() && !t.After(now) {
		t = now.Add(time.Nanosecond)
	}
	return c.Conn.SetReadDeadline(t)
}
