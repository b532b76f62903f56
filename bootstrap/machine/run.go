package machine

import (
	"context"
	"time"
)

// Decision is the row that fits the facts, with its text.
type Decision struct {
	Row
	Text    string
	trouble Trouble
}

// Decide finds the first row that fits.
func Decide(f Facts) Decision {
	for _, r := range Table {
		if !r.When(f) {
			continue
		}
		d := Decision{Row: r, Text: r.Why(f)}
		if r.Trouble != nil {
			d.trouble = r.Trouble(f)
		}
		return d
	}
	panic("machine: the last row of the table must fit everything")
}

// Actor is the world that the machine looks at and acts on.
type Actor interface {
	// Observe asks Vault how it is and returns all facts known.
	Observe(ctx context.Context) Facts
	// Do carries one step out. What it learns, failures included, shows in the
	// facts; the error only sets the pace.
	Do(ctx context.Context, s Step) error
	// Holding tells whether keys are in hand.
	Holding() bool
}

// Turn is one round of the machine, for whoever watches it.
type Turn struct {
	Facts    Facts
	Decision Decision
	News     bool          // a transition, or the same row for a new reason
	Wait     time.Duration // until the next turn
	Err      error         // of the step
}

// Run turns until ctx ends. It then returns, unless keys are in hand: these
// are stored for as long as grace allows, because nobody else has them.
// before is called once a decision stands, after when its step is done.
func Run(ctx context.Context, a Actor, grace time.Duration, before, after func(Turn)) {
	late, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() {
		select {
		case <-time.After(grace):
			cancel()
		case <-late.Done():
		}
	})()

	var last Decision
	for turns := 0; ; turns++ {
		ctx := ctx
		if a.Holding() {
			ctx = late
		}
		if ctx.Err() != nil {
			return
		}
		f := a.Observe(ctx)
		d := Decide(f)
		if d.Name != last.Name {
			turns = 0
		}
		t := Turn{Facts: f, Decision: d, News: turns == 0 || d.trouble.Kind != last.trouble.Kind}
		before(t)
		if d.Step != None {
			t.Err = a.Do(ctx, d.Step)
		}
		t.Wait = d.Pace.wait(turns, t.Err != nil)
		after(t)
		last = d
		pause(ctx, t.Wait)
	}
}

// pause waits d, less if ctx ends.
func pause(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// Troubled tells whether something fails in this state.
func (d Decision) Troubled() bool { return d.trouble.Is() }
