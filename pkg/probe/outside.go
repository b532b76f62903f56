package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/vaultproof/vaultproof/pkg/history"
	"github.com/vaultproof/vaultproof/pkg/probe/internal/load"
	"github.com/vaultproof/vaultproof/pkg/probe/internal/wire"
)

// outsideClients is the first client number of the load outside the cluster: no
// prober has that many.
const outsideClients = 1 << 40

// outsideDial bounds a connection from outside, whose way leads through the API
// server or a load balancer.
const outsideDial = 2 * time.Second

// OutsideOptions say how to reach Vault from where the suite runs.
type OutsideOptions struct {
	// Route names the way in what is measured.
	Route string
	// Address is the base URL of Vault, ServerName the name that its certificate
	// must bear, CA what it is verified with.
	Address, ServerName string
	CA                  []byte
	// Token may read and write below Mount/data/Prefix.
	Token, Mount, Prefix string
	// Rate is how many operations start in a second.
	Rate float64
	Seed uint64
	// Dial opens a connection in place of one to Address.
	Dial func(context.Context) (net.Conn, error)
}

// Outside is load from outside the cluster, by this process: registers of its own,
// on a schedule of its own. Its series tells what clients see who come in through
// the door; outages are not computed from it, since what lies between is no part of
// Vault.
type Outside struct {
	load *load.Load
	stop context.CancelFunc
	done chan struct{}

	mu  sync.Mutex
	ops []Operation
}

// StartOutside starts it. It goes on until Stop, whatever becomes of ctx.
func StartOutside(ctx context.Context, opts OutsideOptions) (*Outside, error) {
	cfg := wire.Config{
		Address: opts.Address, ServerName: opts.ServerName, CAPEM: opts.CA,
		Token: opts.Token, Mount: opts.Mount, Prefix: opts.Prefix, Seed: opts.Seed, FirstClient: outsideClients,
		Streams: []wire.Stream{{Kind: wire.Register, Route: opts.Route, Rate: opts.Rate}},
	}.WithDefaults()
	err := cfg.Validate()
	if err == nil && (opts.Route == "" || opts.Route == RouteService) {
		err = errors.New("the way has no name of its own")
	}
	if err != nil {
		return nil, fmt.Errorf("configuring the load from outside: %w", err)
	}
	o := &Outside{done: make(chan struct{})}
	if o.load, err = load.New(cfg, wire.NewTicker(), o.take); err != nil {
		return nil, fmt.Errorf("preparing the load from outside: %w", err)
	}
	if opts.Dial != nil {
		o.load.Through(func(ctx context.Context, _, _ string) (net.Conn, error) {
			ctx, cancel := context.WithTimeout(ctx, outsideDial)
			defer cancel()
			return opts.Dial(ctx)
		})
	}
	lasting, stop := context.WithCancel(context.WithoutCancel(ctx))
	o.stop = stop
	go func() {
		defer close(o.done)
		o.load.Run(lasting)
	}()
	return o, nil
}

func (o *Outside) take(r wire.Record) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ops = append(o.ops, operationOf(r, 0))
}

// Operations are those that have ended so far.
func (o *Outside) Operations() []Operation {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.ops)
}

// Between returns those that were due at or after from and before to.
func (o *Outside) Between(from, to time.Time) []Operation {
	o.mu.Lock()
	defer o.mu.Unlock()
	return dueIn(o.ops, from, to)
}

// Final ends the load and reads every key, trying again until each has answered or
// ctx is done.
func (o *Outside) Final(ctx context.Context) (history.Final, error) {
	o.Stop()
	final, err := o.load.Final(ctx)
	if err != nil {
		return final, fmt.Errorf("reading what the load from outside left: %w", err)
	}
	return final, nil
}

// Stop ends the load and waits for the last answers, at most as long as a client
// waits for one. Stopping again does nothing.
func (o *Outside) Stop() {
	o.stop()
	<-o.done
}
