// Package snapshot takes snapshots of Vault's raft storage and keeps them in an
// object store. A snapshot is encrypted by Vault; the shares in custody open it,
// and package restore brings it back.
package snapshot

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/vaultproof/vaultproof/bootstrap/objectstore"
)

const (
	// takeTimeout bounds one snapshot, from the first byte to the last old one
	// that is deleted. It only keeps a hanging connection from ending them all.
	takeTimeout = time.Hour
	// The pause after a failure grows between these.
	firstRetry, lastRetry = 10 * time.Second, 10 * time.Minute
	// jitter is the part of the interval that is added at random, so that many
	// clusters do not all store at once.
	jitter = 0.1
)

// Report is how the last attempt went, for a status page.
type Report struct {
	Last  Taken     // the last success; zero if there was none in this process
	Error string    // of the attempt after it; empty if there was none
	Next  time.Time // when the next attempt is due
}

// Options of a Taker.
type Options struct {
	Source Source
	Tokens Tokens
	Store  objectstore.Store
	Every  time.Duration
	Keep   int          // how many snapshots stay, at least 1
	Report func(Report) // called after each attempt; may be nil
	Log    *slog.Logger
}

// Taker takes snapshots on a schedule, while its pod is active. The schedule
// goes by what is in the store, so that neither a restart nor a change of
// leadership skips or doubles one.
type Taker struct {
	Options
	active, busy atomic.Bool
	wake         chan struct{}
}

// New makes a Taker.
func New(o Options) *Taker {
	o.Keep = max(o.Keep, 1)
	return &Taker{Options: o, wake: make(chan struct{}, 1)}
}

// Role tells whether Vault is active, as far as the caller knows. It never
// blocks and may be called from any goroutine, as often as one likes.
func (t *Taker) Role(active bool) {
	if t.active.Swap(active) == active {
		return
	}
	select {
	case t.wake <- struct{}{}:
	default: // it looks anyway
	}
}

// Busy tells whether a snapshot is being taken right now.
func (t *Taker) Busy() bool { return t.busy.Load() }

// Run takes snapshots until ctx ends.
func (t *Taker) Run(ctx context.Context) {
	var report Report
	failures := 0
	for ctx.Err() == nil {
		if !t.active.Load() {
			report, failures = Report{}, 0
			t.pause(ctx, nil)
			continue
		}
		if report.Next.IsZero() {
			next, err := t.due(ctx)
			if err != nil {
				failures = t.failed(ctx, &report, failures, err)
				t.sleep(ctx, time.Until(report.Next))
				report.Next = time.Time{} // ask again
				continue
			}
			report.Next = next
		}
		if wait := time.Until(report.Next); wait > 0 {
			t.sleep(ctx, wait)
			continue
		}
		t.busy.Store(true)
		done, err := t.Take(ctx)
		t.busy.Store(false)
		if done.Name != "" {
			report.Last = done
			t.Log.Info("snapshot taken", "url", t.Store.URL(done.Name), "bytes", done.Size, "raftIndex", done.Index)
		}
		switch {
		case errors.Is(err, errNotActive) || ctx.Err() != nil:
			report.Next = time.Time{}
			t.sleep(ctx, firstRetry) // whoever tells the role is about to tell it
			continue
		case err != nil && done.Name == "":
			failures = t.failed(ctx, &report, failures, err)
			continue
		case err != nil:
			report.Error = err.Error()
			t.Log.Warn("old snapshots were not deleted", "error", report.Error)
		default:
			report.Error = ""
		}
		failures, report.Next = 0, t.after(done.At)
		t.tell(report)
	}
}

// due tells when the next snapshot is, by the newest in the store.
func (t *Taker) due(ctx context.Context) (time.Time, error) {
	all, err := List(ctx, t.Store)
	if err != nil {
		return time.Time{}, err
	}
	if len(all) == 0 {
		return time.Now(), nil
	}
	last, _ := taken(all[len(all)-1].Name)
	return t.after(last), nil
}

func (t *Taker) after(last time.Time) time.Time {
	return last.Add(t.Every + time.Duration(rand.Float64()*jitter*float64(t.Every)))
}

// failed reports a failure and sets when to try again.
func (t *Taker) failed(ctx context.Context, report *Report, failures int, err error) int {
	if ctx.Err() != nil {
		return failures
	}
	wait := min(firstRetry<<min(failures, 10), lastRetry, t.Every)
	report.Error, report.Next = err.Error(), time.Now().Add(wait)
	t.Log.Error("no snapshot was taken; tried again", "error", report.Error, "in", wait.String())
	t.tell(*report)
	return failures + 1
}

func (t *Taker) tell(r Report) {
	if t.Report != nil {
		t.Report(r)
	}
}

// sleep waits d, less if the role changes or ctx ends.
func (t *Taker) sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	t.pause(ctx, timer.C)
}

func (t *Taker) pause(ctx context.Context, over <-chan time.Time) {
	select {
	case <-ctx.Done():
	case <-t.wake:
	case <-over:
	}
}
