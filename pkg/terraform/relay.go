package terraform

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
)

// relay is a port on loopback behind which each connection is one that dial opens. It passes
// bytes on and looks into none: TLS goes from one end to the other.
type relay struct {
	listener net.Listener
	dial     func(context.Context) (net.Conn, error)
	cancel   context.CancelFunc
	done     sync.WaitGroup
}

// listen opens the port. It serves until stop.
func listen(ctx context.Context, dial func(context.Context) (net.Conn, error)) (*relay, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("opening a port on loopback that leads to Vault: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	r := &relay{listener: listener, dial: dial, cancel: cancel}
	r.done.Go(func() { r.serve(ctx) })
	return r, nil
}

// url is the base URL by which Vault is reached.
func (r *relay) url() string { return "https://" + r.listener.Addr().String() }

func (r *relay) serve(ctx context.Context) {
	for {
		near, err := r.listener.Accept()
		if err != nil {
			return // stopped
		}
		r.done.Go(func() { r.carry(ctx, near) })
	}
}

// carry joins a connection with one to Vault. One that cannot be opened closes the other,
// which is how a client learns of it.
func (r *relay) carry(ctx context.Context, near net.Conn) {
	defer near.Close()
	far, err := r.dial(ctx)
	if err != nil {
		return
	}
	defer far.Close()
	// Neither end may keep the other waiting once the relay is stopped.
	unhook := context.AfterFunc(ctx, func() { _ = errors.Join(near.Close(), far.Close()) })
	defer unhook()
	var both sync.WaitGroup
	both.Go(func() { pour(far, near) })
	both.Go(func() { pour(near, far) })
	both.Wait()
}

// pour copies until one side ends, and tells the other so.
func pour(to, from net.Conn) {
	_, _ = io.Copy(to, from) // the end of a connection is no failure of the relay
	if half, can := to.(interface{ CloseWrite() error }); can {
		_ = half.CloseWrite()
		return
	}
	_ = to.Close()
}

// stop closes the port and all connections.
func (r *relay) stop() {
	r.cancel()
	_ = r.listener.Close()
	r.done.Wait()
}
