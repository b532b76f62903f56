package ops

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/hashicorp/vault/api"
	"github.com/onsi/ginkgo/v2"

	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/target"
)

var ops06 = conformance.Check{
	ID: "OPS-06", Area: area, Level: conformance.Must, Manner: conformance.Reads,
	Assertion: "the clocks of the pods differ by less than a second",
	Source:    "production-hardening \"Synchronize clocks\"",
	Observe: "server_time_utc of sys/health on every pod, asked again and again over more than a second: each answer bounds the pod's clock by when it was asked and answered, and the moment at which the second changes bounds it closely; " +
		"the bounds, not a middle value, are judged",
}

const (
	// maxSkew is how far clocks may be apart.
	maxSkew = time.Second
	// clockLook is how long a pod's clock is looked at at least: a whole second changes
	// in it. Slow answers are wide bounds; then it is looked at longer, for clockPatience
	// at most, until it is known within clockClose.
	clockLook     = 1200 * time.Millisecond
	clockPatience = 10 * time.Second
	clockClose    = 300 * time.Millisecond
	// clockPause is between two questions.
	clockPause = 20 * time.Millisecond
)

var _ = conformance.It(ops06, conformance.Conformance, func(ctx ginkgo.SpecContext, r *conformance.Case) error {
	pods, err := r.Target.Pods(ctx)
	if err != nil {
		return r.CannotTell(err)
	}
	clocks := make([]clock, len(pods))
	errs := make([]error, len(pods))
	base := time.Now()
	var all sync.WaitGroup
	for i, pod := range pods {
		all.Go(func() { clocks[i], errs[i] = lookAtClock(ctx, r.Target, pod.Name, base) })
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		return r.CannotTell(err)
	}
	worst := widest(clocks)
	r.Measure("clock_skew_at_most_ms", math.Ceil(float64(worst.most)/float64(time.Millisecond)))
	r.Measure("clock_skew_at_least_ms", math.Floor(float64(worst.least)/float64(time.Millisecond)))
	err = together(clocks)
	if errors.Is(err, errBounds) {
		return r.CannotTell(err)
	}
	return err
})

// clock is what is known of a pod's clock: it is ahead of ours by from to to, where
// behind is negative.
type clock struct {
	pod      string
	from, to time.Duration
	looks    int
}

// look is one answer: the pod's clock showed the second at some instant between
// asked and answered, on our clock.
type look struct {
	asked, answered time.Time
	second          int64
}

// lookAtClock asks a pod for its time, until the second has changed and what is known of
// its clock is close enough to compare it with another.
func lookAtClock(ctx context.Context, t *target.Target, pod string, base time.Time) (clock, error) {
	client, done, err := t.Pod(ctx, pod)
	if err != nil {
		return clock{}, err
	}
	defer done()
	var looks []look
	tick, began := time.NewTicker(clockPause), time.Now()
	defer tick.Stop()
	for {
		l, err := askTime(ctx, client)
		if err != nil {
			return clock{}, fmt.Errorf("asking pod %s for its time: %w", pod, err)
		}
		looks = append(looks, l)
		c, took := bound(pod, base, looks), time.Since(began)
		if took >= clockPatience || took >= clockLook && c.to-c.from < clockClose {
			return c, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return clock{}, fmt.Errorf("asking pod %s for its time: %w", pod, ctx.Err())
		}
	}
}

func askTime(ctx context.Context, client *api.Client) (look, error) {
	l := look{asked: time.Now()}
	health, err := client.Sys().HealthWithContext(ctx)
	l.answered = time.Now()
	if err != nil {
		return l, fmt.Errorf("sys/health: %w", err)
	}
	if l.second = health.ServerTimeUTC; l.second == 0 {
		return l, errors.New("sys/health has no server_time_utc")
	}
	return l, nil
}

// bound puts looks together. The pod's clock was in [second, second+1) at an instant
// not before asked and not after answered. Our own clock is taken from base on by
// its monotonic reading, so that setting it does no harm.
func bound(pod string, base time.Time, looks []look) clock {
	c := clock{pod: pod, from: math.MinInt64, to: math.MaxInt64, looks: len(looks)}
	zero := base.Round(0)
	for _, l := range looks {
		shown := time.Unix(l.second, 0).Sub(zero) // since base, on the pod's clock
		c.from = max(c.from, shown-l.answered.Sub(base))
		c.to = min(c.to, shown+time.Second-l.asked.Sub(base))
	}
	return c
}

// apart is how far two clocks differ: at least, and at most.
type apart struct {
	a, b        string
	least, most time.Duration
}

// widest is the pair that may differ most; of those that surely differ, the one
// that does so most.
func widest(clocks []clock) apart {
	var worst apart
	for i, a := range clocks {
		for _, b := range clocks[i+1:] {
			most := max(a.to-b.from, b.to-a.from)
			least := max(a.from-b.to, b.from-a.to, 0)
			if least > worst.least || least == worst.least && most > worst.most {
				worst = apart{a.pod, b.pod, least, most}
			}
		}
	}
	return worst
}

// errBounds means that the bounds are too wide to judge by.
var errBounds = errors.New("the clocks cannot be compared closely enough")

// together judges the clocks.
func together(clocks []clock) error {
	if len(clocks) < 2 {
		return fmt.Errorf("%w: there are %d Vault pods, want two to compare", errBounds, len(clocks))
	}
	for _, c := range clocks {
		if c.looks == 0 {
			return fmt.Errorf("%w: pod %s was not asked", errBounds, c.pod)
		}
		if c.from > c.to {
			return fmt.Errorf("the clock of pod %s was set by at least %s within %s: want it steady (production-hardening)", c.pod, (c.from - c.to).Round(time.Millisecond), clockPatience)
		}
	}
	worst := widest(clocks)
	switch {
	case worst.least >= maxSkew:
		return fmt.Errorf("the clocks of pods %s and %s differ by %s to %s, want less than %s: leases and logs disagree (production-hardening)",
			worst.a, worst.b, worst.least.Round(time.Millisecond), worst.most.Round(time.Millisecond), maxSkew)
	case worst.most >= maxSkew:
		return fmt.Errorf("%w: pods %s and %s differ by %s to %s, want less than %s for certain: the answers took too long", errBounds,
			worst.a, worst.b, worst.least.Round(time.Millisecond), worst.most.Round(time.Millisecond), maxSkew)
	}
	return nil
}
