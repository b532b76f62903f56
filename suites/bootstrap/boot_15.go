package bootstrap

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"github.com/hashicorp/vault/api"
	"github.com/onsi/ginkgo/v2"

	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/fault"
	"github.com/vaultproof/vaultproof/pkg/target"
	"github.com/vaultproof/vaultproof/suites/trial"
)

const (
	// bogusEvery is the pause of the third party between two shares.
	bogusEvery = 200 * time.Millisecond
	// bogusRetry is its pause while nobody listens, so that its first share is there
	// about as soon as the listener.
	bogusRetry = 20 * time.Millisecond
	// disturbedBudget is how long a disturbed unsealing may take.
	disturbedBudget = 5 * time.Second
	// shareBytes is the size of a share of a 256-bit key.
	shareBytes = 33
)

var boot15 = conformance.Check{
	ID: "BOOT-15", Area: area, Level: conformance.Must,
	Assertion: "bogus shares that a third party posts to sys/unseal cannot wedge the unsealing",
	Source:    `Vault API, system/unseal, parameter "reset"`,
	Observe:   "a bogus share every 200 ms to a standby whose Vault process is killed, or, if it is unsealed before one arrives, to a pod sealed with a hold that is then taken away; sys/seal-status of that pod; shares that reached a sealed Vault",
	Timeout:   3*(answerTimeout+trial.WholeTimeout) + trial.WholeTimeout,
}

var _ = conformance.It(boot15, conformance.Chaos, func(ctx ginkgo.SpecContext, r *conformance.Case) error {
	standbys, err := calmStandbys(ctx, r)
	if err != nil {
		return err
	}
	// A quick unsealing may leave no time for a bogus share. Each standby is one try:
	// a second restart of the same container would wait for the kubelet's back-off.
	var d disturbance
	for i, s := range standbys {
		if d, err = disturb(ctx, r, i+1, s.Pod.Name); err != nil {
			return err
		}
		if _, err := trial.AwaitWhole(ctx, r.Target); err != nil {
			return fmt.Errorf("%s after bogus shares were posted to pod %s %w", trial.WholeTimeout, s.Pod.Name, err)
		}
		if d.bogus() > 0 {
			break
		}
	}
	if d.bogus() == 0 {
		// The sidecar was quicker than any share. With a hold it has to wait for them.
		if d, err = disturbHeld(ctx, r, len(standbys)+1); err != nil {
			return err
		}
	}
	r.Measure("bogus_shares_total", float64(d.bogus()))
	took, err := d.unsealed()
	if err != nil {
		return conclude(r, err)
	}
	r.Measure("unseal_ms", float64(took.Milliseconds()))
	return nil
})

// disturbance is what was seen while bogus shares were posted to one pod.
type disturbance struct {
	pod string
	// from is when the unsealing could begin; zero is the first answer that said sealed.
	from  time.Time
	looks []target.SealLook
	posts []post
}

// post is the answer to one bogus share.
type post struct {
	at time.Time
	// sealed is true if the share reached a Vault that was sealed: it was taken, or
	// it completed a set that opened nothing.
	sealed bool
}

// disturb is the n-th try: it kills the pod's Vault while bogus shares are posted to it, until it is
// unsealed again. That it is not in time is for the judgement to say.
func disturb(ctx context.Context, r *conformance.Case, n int, pod string) (disturbance, error) {
	d := disturbance{pod: pod}
	watched, stop := context.WithTimeout(ctx, answerTimeout)
	defer stop()
	posting, endPosts := context.WithCancel(watched)
	defer endPosts()
	poster, closePoster, err := r.Target.Pod(ctx, pod)
	if err != nil {
		return d, r.CannotTell(err)
	}
	defer closePoster()
	posts := make(chan []post, 1)
	go func() { posts <- postBogus(posting, poster, func() {}) }()

	kill, err := trial.Strike(ctx, r, n, &fault.ProcessKill{Env: r.Faults, Pod: pod})
	if err != nil {
		return d, err
	}
	defer kill.Report(ctx)
	var hit atomic.Bool
	witnessed := make(chan error, 1)
	go func() {
		err := kill.Witness(watched)
		hit.Store(true) // or it never will
		witnessed <- err
	}()
	looks, watchErr := r.Target.WatchSeal(watched, pod, closeEvery, func(l target.SealLook) bool { return hit.Load() && l.Open() })
	d.looks = looks
	endPosts()
	d.posts = <-posts
	if err := <-witnessed; err != nil {
		return d, err
	}
	if err := kill.Undo(ctx); err != nil {
		return d, err
	}
	if ctx.Err() != nil {
		return d, r.CannotTell(watchErr)
	}
	return d, nil
}

// postBogus posts shares until ctx ends, and calls reached after each that a sealed Vault
// got.
func postBogus(ctx context.Context, client *api.Client, reached func()) []post {
	var posts []post
	for ctx.Err() == nil {
		var share [shareBytes]byte
		_, _ = rand.Read(share[:]) // never fails
		status, err := client.Sys().UnsealWithContext(ctx, base64.StdEncoding.EncodeToString(share[:]))
		pause := bogusEvery
		if p, answered := answerTo(status, err); answered {
			if posts = append(posts, p); p.sealed {
				reached()
			}
		} else {
			pause = bogusRetry
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
	return posts
}

// answerTo reads what Vault made of a bogus share.
func answerTo(status *api.SealStatusResponse, err error) (p post, answered bool) {
	var refused *api.ResponseError
	switch {
	case err == nil && status != nil:
		return post{at: time.Now(), sealed: status.Sealed}, true
	case errors.As(err, &refused):
		return post{at: time.Now(), sealed: refused.StatusCode == http.StatusBadRequest}, true
	}
	return post{}, false
}

// bogus counts the shares that reached a sealed Vault.
func (d disturbance) bogus() (n int) {
	for _, p := range d.posts {
		if p.sealed {
			n++
		}
	}
	return n
}

// unsealed judges how long the pod was seen sealed, from its first answer after the
// kill to its first unsealed one after the last sealed one.
func (d disturbance) unsealed() (time.Duration, error) {
	if d.bogus() == 0 {
		return 0, fmt.Errorf("%w: of %d bogus shares none reached pod %s while it was sealed", errBlind, len(d.posts), d.pod)
	}
	var sealed []time.Time
	var opened time.Time
	for _, l := range d.looks {
		if l.Sealed() {
			sealed = append(sealed, l.At)
		}
	}
	for _, p := range d.posts {
		if p.sealed {
			sealed = append(sealed, p.at)
		}
	}
	slices.SortFunc(sealed, time.Time.Compare)
	first, last := sealed[0], sealed[len(sealed)-1]
	if !d.from.IsZero() {
		first = d.from
	}
	for _, l := range d.looks {
		if l.Open() && l.At.After(last) && opened.IsZero() {
			opened = l.At
		}
	}
	if opened.IsZero() {
		return 0, fmt.Errorf("pod %s was not unsealed while a bogus share was posted every %s: sealed from %s to %s at least (%d bogus shares reached it), want it open within %s", d.pod, bogusEvery, trial.Clock(first), trial.Clock(last), d.bogus(), disturbedBudget)
	}
	if took := opened.Sub(first); took > disturbedBudget {
		return took, fmt.Errorf("pod %s took %s to be unsealed while a bogus share was posted every %s (%d reached it), budget %s", d.pod, trial.Round(took), bogusEvery, d.bogus(), disturbedBudget)
	} else {
		return took, nil
	}
}
