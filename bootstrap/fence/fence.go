package fence

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/vaultproof/vaultproof/bootstrap/kube"
	"github.com/vaultproof/vaultproof/bootstrap/registrar"
	"github.com/vaultproof/vaultproof/bootstrap/status"
	"github.com/vaultproof/vaultproof/bootstrap/vault"
)

// Label is the one that Vault's service registration keeps and Services select.
const Label = registrar.Active

const (
	// every is the pause between two rounds while all is well.
	every = 2 * time.Second
	// soon is the pause before a round is repeated that could not do its work;
	// it doubles up to backOff.
	soon    = 50 * time.Millisecond
	backOff = time.Second
	// opening is the pause while Vault becomes active, which its sys/leader
	// answers as soon as it is done; for as long as patience.
	opening  = 25 * time.Millisecond
	patience = 30 * time.Second
	// askTimeout bounds one question to a Vault.
	askTimeout = time.Second
	// settle is how much longer the other pods may speak up once a majority is
	// found. A Vault that runs answers in a few milliseconds.
	settle = 50 * time.Millisecond
	// grace is how long Vault must have been active before its own missing label
	// is repaired: its registration gets the first word. Not with a registrar.
	grace = time.Second
	// roundLimit is the age at which labels are too old to act on. It is only
	// exceeded if this process was stopped in the middle of a round.
	roundLimit = 5 * time.Second
	// sayAfter is how long a trouble must last to be logged. Shorter ones belong
	// to every election.
	sayAfter = time.Second
)

// LeaderAsker asks one Vault who is active.
type LeaderAsker interface {
	Leader(ctx context.Context) (vault.Leader, error)
}

// Own is the Vault of the sidecar's own pod.
type Own interface {
	LeaderAsker
	SealStatus(ctx context.Context) (vault.Seal, error)
	Health(ctx context.Context) (vault.Health, error)
}

// Kube reads and labels pods; *kube.Client does.
type Kube interface {
	Pod(ctx context.Context, name string) (kube.Pod, error)
	SetLabels(ctx context.Context, p kube.Pod, labels map[string]string) error
}

// Options of a fence.
type Options struct {
	Pod   string   // this one
	Pods  []string // all of the StatefulSet, this one included
	Kube  Kube
	Self  Own
	Peers map[string]LeaderAsker // by pod name, without this one
	// Registration is what Vault announces to the registrar; nil if Vault labels
	// its own pod.
	Registration *registrar.Memory
	Board        *status.Board // gets counters and what /status tells
	Log          *slog.Logger
}

// Askers makes a map of concrete clients one of LeaderAskers.
func Askers[T LeaderAsker](clients map[string]T) map[string]LeaderAsker {
	out := make(map[string]LeaderAsker, len(clients))
	for pod, c := range clients {
		out[pod] = c
	}
	return out
}

// Fence keeps the labels right from one pod.
type Fence struct {
	o        Options
	majority int // of all pods
	wake     chan struct{}
	hint     atomic.Bool // what Role was told last

	// Of Run's goroutine alone.
	leading     bool      // own Vault said that it is active, last time it was asked
	activeSince time.Time // of the first round of those in a row that found it so
	wroteOwn    bool      // the round before set the own label, so this one verifies it
	failures    int       // rounds in a row that could not do their work
	trouble     trouble
	wrongSince  map[string]time.Time // by pod: when its wrong label was first seen
	heard       uint64               // announcement of Vault that a round went by already
	carrier     carrier
}

// New makes a fence.
func New(o Options) (*Fence, error) {
	if !slices.Contains(o.Pods, o.Pod) {
		return nil, fmt.Errorf("pod %s is not among the pods whose labels are to be kept right (%v): name all pods in -peers", o.Pod, o.Pods)
	}
	for pod := range o.Peers {
		if pod == o.Pod || !slices.Contains(o.Pods, pod) {
			return nil, fmt.Errorf("pod %s is no peer of %s among %v: name all pods in -peers", pod, o.Pod, o.Pods)
		}
	}
	return &Fence{o: o, majority: len(o.Pods)/2 + 1, wake: make(chan struct{}, 1), wrongSince: map[string]time.Time{}}, nil
}

// Role tells whether Vault is active, as far as the caller knows. A change
// starts a round at once. It never blocks and may be called from any goroutine,
// as often as one likes. It is no evidence: each round asks Vault itself.
func (f *Fence) Role(active bool) {
	if f.hint.Swap(active) == active {
		return
	}
	select {
	case f.wake <- struct{}{}:
	default: // a round is due anyway
	}
}

// Run keeps the labels right until ctx ends.
func (f *Fence) Run(ctx context.Context) {
	for ctx.Err() == nil {
		r := f.round(ctx)
		if ctx.Err() != nil {
			return
		}
		f.publish(ctx, r)
		f.pause(ctx, f.next(r))
	}
}

// next is the pause after a round.
func (f *Fence) next(r result) time.Duration {
	if r.trouble.kind != "" {
		f.failures++
		return min(soon<<min(f.failures-1, 10), backOff)
	}
	f.failures = 0
	return min(r.again, every)
}

// pause waits d, less if the role changes, Vault announces something or ctx
// ends.
func (f *Fence) pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-f.wake:
		f.failures = 0
	case <-f.o.Registration.News():
		f.failures = 0
	case <-ctx.Done():
	}
}

// trouble is why a round could not do its work.
type trouble struct {
	kind   string // one word, of kube.Kind or no-majority, disputed
	text   string
	since  time.Time
	logged bool
}

// publish tells logs, /status and metrics how a round ended.
func (f *Fence) publish(ctx context.Context, r result) {
	now := time.Now()
	switch {
	case r.trouble.kind == "":
		if f.trouble.logged {
			f.o.Log.Info("labels of the Vault pods can be kept right again", "pod", f.o.Pod, "trouble", f.trouble.kind,
				"lastedMs", now.Sub(f.trouble.since).Milliseconds())
		}
		f.trouble = trouble{}
	case r.trouble.kind != f.trouble.kind:
		f.trouble = r.trouble
		f.trouble.since = now
	default:
		f.trouble.text = r.trouble.text
	}
	if f.trouble.kind != "" && !f.trouble.logged && now.Sub(f.trouble.since) >= sayAfter {
		f.trouble.logged = true
		f.o.Log.Log(ctx, f.trouble.level(), "labels of the Vault pods cannot be kept right", "pod", f.o.Pod,
			"trouble", f.trouble.kind, "why", f.trouble.text, "remedy", f.trouble.remedy())
	}
	f.o.Board.SetLabels(r.desired, f.trouble.text)
}

func (t trouble) level() slog.Level {
	if t.kind == kube.Kind(kube.ErrForbidden) || t.kind == kube.Kind(kube.ErrInvalid) {
		return slog.LevelError // will not pass by itself
	}
	return slog.LevelWarn
}

// remedy tells an admin what to do.
func (t trouble) remedy() string {
	switch t.kind {
	case kube.Kind(kube.ErrForbidden):
		return "let this pod's service account get and patch all Vault pods (a Role with their resourceNames), or switch the fence off with -fence=false"
	case kube.Kind(kube.ErrInvalid):
		return "look for an admission webhook or policy that refuses Vault's labels on these pods"
	case kube.Kind(kube.ErrUnavailable):
		return "none if the API server is down: it is tried again until it answers; else look at the network policy between this pod and the API server"
	case disputed:
		return "none if it lasts seconds: one of the two is about to step down; else check that -peers names pods of one cluster, each with its own api_addr"
	case noMajority:
		return "look at the peers: this Vault says that it is active, and too few of them agree or answer"
	}
	return "none: it is tried again"
}
