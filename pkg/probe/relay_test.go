package probe

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"
)

// relay passes connections on to a server, until it is told to drop all: then
// nothing passes any more, and nobody is told. When it is opened again, it resets
// what it has, and passes what is new.
type relay struct {
	listener net.Listener
	dial     func(context.Context) (net.Conn, error)
	running  sync.WaitGroup

	mu    sync.Mutex
	shut  bool
	conns map[net.Conn]bool
}

func newRelay(t testing.TB, listener net.Listener, dial func(context.Context) (net.Conn, error)) *relay {
	t.Helper()
	r := &relay{listener: listener, dial: dial, conns: map[net.Conn]bool{}}
	r.running.Go(func() { r.accept(t.Context()) })
	t.Cleanup(func() {
		_ = listener.Close()
		r.open()
		r.running.Wait()
	})
	return r
}

func (r *relay) accept(ctx context.Context) {
	for {
		near, err := r.listener.Accept()
		if err != nil {
			return // the listener is closed
		}
		far, err := r.dial(ctx)
		if err != nil {
			_ = near.Close()
			continue
		}
		r.mu.Lock()
		r.conns[near], r.conns[far] = true, true
		r.mu.Unlock()
		r.running.Go(func() { r.carry(near, far) })
		r.running.Go(func() { r.carry(far, near) })
	}
}

// carry passes what comes from one side on to the other.
func (r *relay) carry(from, to net.Conn) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		r.mu.Lock()
		shut := r.shut
		r.mu.Unlock()
		if shut {
			return // dropped; the connection stays, and hears no more
		}
		if n > 0 {
			_, _ = to.Write(buf[:n]) // whoever is gone has closed its side
		}
		if err != nil {
			_, _ = from.Close(), to.Close()
			return
		}
	}
}

// drop lets nothing pass from now on.
func (r *relay) drop() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.shut = true
	return time.Now()
}

// open resets all connections and lets new ones pass.
func (r *relay) open() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	for c := range r.conns {
		if tcp, ok := c.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0) // a reset, not an end
		}
		_ = c.Close()
	}
	clear(r.conns)
	r.shut = false
	return time.Now()
}
