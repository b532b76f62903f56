// Package probe is the client that never stops. Start puts a prober pod into
// the cluster, which sends load to Vault on a fixed schedule and asks every
// Vault pod what it thinks it is; Watch follows the labels and endpoints that
// Kubernetes keeps. Both write to the timeline, from which Outages, Measure
// and Phases compute what clients suffered and when the cluster noticed,
// elected, and routed.
//
// Registers through the Service are what outages are timed by. Other kinds of
// operations (Mix), other ways to Vault (Way, Outside) and more probers (Fleet) go on
// beside them; Operations has them all, and Latency measures each by itself.
package probe

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"sync"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/vaultproof/vaultproof/pkg/history"
	"github.com/vaultproof/vaultproof/pkg/probe/internal/wire"
	"github.com/vaultproof/vaultproof/pkg/timeline"
)

// The names that probers bear unless told otherwise.
const (
	DefaultNamespace = "vaultproof-system"
	DefaultImage     = "vaultproof/prober:v0.1.0"
	DefaultRate      = 100 // operations a second
	DefaultMount     = "secret"
)

// Options say what to probe.
type Options struct {
	// Namespace is where the prober runs; it is made if it does not exist.
	Namespace string
	// Image is the prober's image.
	Image string
	// RunID labels what is created. It is required.
	RunID string
	// NodeSelector places the pod. Nil prefers a node labelled
	// vaultproof.dev/role=services, and takes any if there is none.
	NodeSelector map[string]string

	// Address is the base URL of Vault for the load, such as
	// https://vault-active.vault.svc:8200. ServerName is the name that its
	// certificate must bear; empty takes the host of Address. The same name is
	// demanded of every pod that is sampled.
	Address    string
	ServerName string
	// CA are the PEM certificates that Vault's certificate is verified with.
	CA []byte
	// Token may read and write below Mount/data/Prefix. It goes to the prober
	// through a port-forward and is kept in its memory alone.
	Token string
	// Mount is a kv version 2 engine that exists. Prefix is a folder in it
	// that is not in use; empty makes one up.
	Mount  string
	Prefix string

	// Rate is how many operations start in a second: 0 means DefaultRate,
	// below 0 means none, to sample only. Mix shares it out among their kinds.
	// WriteShare of those on registers are writes; 0 means half.
	Rate       float64
	Mix        Mix
	WriteShare float64
	// Engines are what kinds beside registers need.
	Engines Engines
	// Ways are watched too, each at a rate of its own beside Rate.
	Ways []Way
	// Logins go on beside that. A prober of a Rate below 0 that has no Ways needs no Token:
	// it logs in and does nothing else.
	Logins []Login
	// Keys is how many keys take turns; 0 means enough that none has to wait.
	Keys int
	// Timeout is how long a client waits for an answer; 0 means 2 s.
	Timeout time.Duration
	// DialTimeout is how long it waits for a connection; 0 means 500 ms.
	DialTimeout time.Duration
	// FreshConnections opens a connection for each operation, instead of
	// keeping a pool of them.
	FreshConnections bool
	// Seed decides which keys are read.
	Seed uint64

	// Pods are the Vault pods to sample, and their IPs. SetPods changes them.
	Pods map[string]string
	// SampleEvery is how often a pod is asked whether it is active; 0 means 50 ms,
	// the resolution of Route for what pods say; that of who answered is the load's, 10 ms
	// at 100 operations a second. A question costs some 0.2 ms of processor time by itself
	// (BenchmarkSample), but some 1 ms with the network of a cluster in between: at 10 ms
	// three pods took a third of a core, of two that have a whole cluster to carry.
	SampleEvery time.Duration

	// Log receives every operation and every change. It is required.
	Log *timeline.Log
	// Logger receives remarks; nil means slog.Default.
	Logger *slog.Logger

	// Of a member of a fleet: the first part of the names of its keys, and its lowest
	// client number.
	name        string
	firstClient int
}

func (o Options) withDefaults() Options {
	if o.Namespace == "" {
		o.Namespace = DefaultNamespace
	}
	if o.Image == "" {
		o.Image = DefaultImage
	}
	if o.Mount == "" {
		o.Mount = DefaultMount
	}
	if o.Prefix == "" {
		o.Prefix = fmt.Sprintf("vaultproof/%s/%d", o.RunID, time.Now().UnixNano())
	}
	if o.Rate == 0 {
		o.Rate = DefaultRate
	}
	o.Rate = max(o.Rate, 0)
	if u, err := url.Parse(o.Address); err == nil && o.ServerName == "" {
		o.ServerName = u.Hostname()
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return o
}

// config is what the prober is told. It is checked before a pod is made.
func (o Options) config() (wire.Config, error) {
	cfg, err := o.told()
	if err == nil && o.Log == nil {
		err = errors.New("the timeline is missing")
	}
	return cfg, err
}

func (o Options) told() (wire.Config, error) {
	registers, streams := o.rates()
	cfg := wire.Config{
		Address: o.Address, CAPEM: o.CA, ServerName: o.ServerName, Token: o.Token, Mount: o.Mount, Prefix: o.Prefix,
		Name: o.name, FirstClient: o.firstClient,
		Rate: registers, Streams: slices.Concat(streams, o.ways(), o.logins()), WriteShare: o.WriteShare, Keys: o.Keys, Timeout: o.Timeout, DialTimeout: o.DialTimeout,
		FreshConnections: o.FreshConnections, Seed: o.Seed, Pods: o.Pods, SampleEvery: o.SampleEvery,
	}.WithDefaults()
	if o.RunID == "" {
		return cfg, errors.New("the run id is missing")
	}
	return cfg, cfg.Validate()
}

// Prober is a prober pod and what came from it. Its methods may be called from
// many goroutines.
type Prober struct {
	opts   Options
	client kubernetes.Interface
	pod    string
	link   *link

	pump *pump
	pods chan map[string]string // the newest set, not yet sent
	// keepPod leaves the pod to whoever made it.
	keepPod bool

	halt  context.CancelFunc // ends the pumps at once
	done  sync.WaitGroup
	close sync.Once
	err   error // of Stop
}

// Start runs a prober pod, waits until it is ready and starts it. ctx bounds
// the start alone: the prober goes on until Stop, whatever becomes of ctx. On
// error nothing is left behind.
func Start(ctx context.Context, config *rest.Config, opts Options) (*Prober, error) {
	opts = opts.withDefaults()
	cfg, err := opts.config()
	if err != nil {
		return nil, fmt.Errorf("configuring the prober: %w", err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("connecting the prober to the cluster: %w", err)
	}
	pod, err := runPod(ctx, client, opts)
	if err != nil {
		return nil, err
	}
	link, err := forward(config, client, opts.Namespace, pod, opts.Logger)
	if err != nil {
		return nil, errors.Join(err, deletePod(ctx, client, opts.Namespace, pod))
	}
	p := &Prober{opts: opts, client: client, pod: pod, link: link, pods: make(chan map[string]string, 1)}
	if err := p.begin(ctx, cfg); err != nil {
		link.close()
		return nil, errors.Join(err, deletePod(ctx, client, opts.Namespace, pod))
	}
	return p, nil
}

// begin synchronises the clocks, starts the load and the pumps.
func (p *Prober) begin(ctx context.Context, cfg wire.Config) error {
	if err := p.link.await(ctx); err != nil {
		return fmt.Errorf("reaching the prober %s: %w", p.pod, err)
	}
	clock, err := synchronise(ctx, p.link)
	if err != nil {
		return fmt.Errorf("reading the clock of the prober %s: %w", p.pod, err)
	}
	if err := p.link.send(ctx, "POST", wire.PathStart, cfg, nil); err != nil {
		return fmt.Errorf("starting the prober %s: %w", p.pod, err)
	}
	p.opts.Logger.Info("prober started", "pod", p.pod, "rate", cfg.Rate, "clockError", clock.uncertainty)
	lasting, halt := context.WithCancel(context.WithoutCancel(ctx))
	p.halt = halt
	p.pump = newPump(p.link, clock, p.opts.Log, p.opts.Logger)
	p.done.Go(func() { p.pump.records(lasting) })
	p.done.Go(func() { p.pump.samples(lasting) })
	p.done.Go(func() { p.sendPods(lasting) })
	p.done.Go(func() { p.pump.keepTime(lasting) })
	return nil
}

// Ops returns the operations on registers through the Service that have ended so
// far, reads outside the schedule included, in the suite's time.
func (p *Prober) Ops() []history.Op {
	p.pump.mu.Lock()
	defer p.pump.mu.Unlock()
	return registersOf(p.pump.ops)
}

// Operations returns all that have ended so far, of every kind and on every way.
func (p *Prober) Operations() []Operation {
	p.pump.mu.Lock()
	defer p.pump.mu.Unlock()
	return slices.Clone(p.pump.ops)
}

// Between returns those of all that were due at or after from and before to: a long
// run has too many to copy them for each fault.
func (p *Prober) Between(from, to time.Time) []Operation {
	p.pump.mu.Lock()
	defer p.pump.mu.Unlock()
	return dueIn(p.pump.ops, from, to)
}

// Rate is how many operations on registers start in a second through the Service:
// those that outages are computed from.
func (p *Prober) Rate() float64 {
	registers, _ := p.opts.rates()
	return registers
}

// Pod is the name of the prober's pod.
func (p *Prober) Pod() string { return p.pod }

// ClockError bounds the error of the times of what the prober saw, in the
// suite's clock.
func (p *Prober) ClockError() time.Duration { return p.pump.clock.uncertainty }

// Lateness is the longest time by which the prober itself was late to start an
// operation due at or after from and before to: what it measured then is
// wrong by up to that much, because its node was too busy. Delays up to 5 ms
// count as none.
func (p *Prober) Lateness(from, to time.Time) time.Duration {
	p.pump.mu.Lock()
	defer p.pump.mu.Unlock()
	var worst time.Duration
	for _, l := range p.pump.late {
		if !l.due.Before(from) && l.due.Before(to) {
			worst = max(worst, l.by)
		}
	}
	return worst
}

// Err tells why what the prober saw is not complete, or nil: the prober has
// been out of reach for 10 s, or entries were dropped.
func (p *Prober) Err() error { return p.pump.problem(time.Now()) }

// SetPods replaces the pods to sample, by name and IP. It does not wait for
// the prober to hear of it.
func (p *Prober) SetPods(pods map[string]string) {
	for {
		select {
		case p.pods <- pods:
			return
		default:
		}
		select {
		case <-p.pods: // nobody needs the older set any more
		default:
		}
	}
}

// sendPods tells the prober of new pods, until it has heard.
func (p *Prober) sendPods(ctx context.Context) {
	retry := time.NewTicker(retryEvery)
	defer retry.Stop()
	for {
		var pods map[string]string
		select {
		case pods = <-p.pods:
		case <-ctx.Done():
			return
		}
		for p.link.send(ctx, "PUT", wire.PathPods, pods, nil) != nil {
			select {
			case <-retry.C:
			case pods = <-p.pods:
			case <-ctx.Done():
				return
			}
		}
	}
}

// Final ends the load and reads every key and journal, trying again until each has
// answered or ctx is done. It is to be asked when the cluster has healed, and
// before Stop. Keys that do not exist are not in the result.
func (p *Prober) Final(ctx context.Context) (history.Final, error) {
	var final history.Final
	if err := p.link.send(ctx, "POST", wire.PathFinal, nil, &final); err != nil {
		return history.Final{}, fmt.Errorf("reading the last state of every key: %w", err)
	}
	return final, nil
}

// Stop ends the load, fetches what is left of the records and deletes the pod.
// The pod is deleted even if the rest fails. Stopping again does nothing and
// returns the same.
func (p *Prober) Stop(ctx context.Context) error {
	p.close.Do(func() {
		err := p.link.send(ctx, "POST", wire.PathStop, nil, nil)
		if err == nil {
			err = p.pump.drain(ctx)
		}
		if err != nil {
			err = fmt.Errorf("fetching the last records of the prober: %w", err)
		}
		p.halt()
		p.done.Wait()
		p.link.close()
		if !p.keepPod {
			err = errors.Join(err, deletePod(ctx, p.client, p.opts.Namespace, p.pod))
		}
		p.err = err
	})
	return p.err
}
