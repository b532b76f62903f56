package fakevault

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"

	"google.golang.org/grpc/test/bufconn"
)

// NewInMemory starts a server that is reached through Dial alone. It uses no
// sockets, so a test in a synctest bubble has a clock of its own, and what it
// measures does not depend on how busy the machine is.
func NewInMemory(hostname string) *Server {
	s := newServer(hostname)
	s.memory = bufconn.Listen(64 << 10)
	s.Server = &httptest.Server{Listener: listener{s.memory}, Config: &http.Server{Handler: http.HandlerFunc(s.serve)}}
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
