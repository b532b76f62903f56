package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/fault"
	"github.com/vaultproof/vaultproof/pkg/target"
	"github.com/vaultproof/vaultproof/suites/trial"
)

// bogusFirst is how many bogus shares reach a held Vault before its hold is taken away:
// with the threshold of three a whole set, that opens nothing, and a part of the next.
const bogusFirst = 4

// disturbHeld seals the active pod with a hold, and takes that away once bogus shares have
// reached it and still come. It is the n-th try. Where nobody may seal, nothing is seen.
func disturbHeld(ctx context.Context, r *conformance.Case, n int) (disturbance, error) {
	active, err := r.Target.Active(ctx)
	if err != nil {
		return disturbance{}, r.CannotTell(err)
	}
	d := disturbance{pod: active.Pod.Name}
	held := &fault.HeldSeal{Env: r.Faults, Pod: d.pod, Seal: func(ctx context.Context) error { return sealActive(ctx, r.Target) }}
	seal, err := trial.Strike(ctx, r, n, held)
	if errors.Is(err, target.ErrNoPrivilege) {
		return d, nil
	}
	if err != nil {
		return d, err
	}
	defer seal.Report(ctx)
	if err := seal.Witness(ctx); err != nil {
		return d, err
	}
	watched, stop := context.WithTimeout(ctx, answerTimeout)
	defer stop()
	posting, endPosts := context.WithCancel(watched)
	defer endPosts()
	poster, closePoster, err := r.Target.Pod(ctx, d.pod)
	if err != nil {
		return d, r.CannotTell(err)
	}
	defer closePoster()
	posts, reached := make(chan []post, 1), make(chan struct{}, bogusFirst)
	go func() {
		posts <- postBogus(posting, poster, func() {
			select {
			case reached <- struct{}{}:
			default: // enough have been counted
			}
		})
	}()
	for i := range bogusFirst {
		select {
		case <-reached:
		case <-watched.Done():
			return d, r.CannotTell(fmt.Errorf("%d of %d bogus shares reached pod %s in %s: %w", i, bogusFirst, d.pod, answerTimeout, context.Cause(watched)))
		}
	}
	d.from = time.Now()
	if err := seal.Undo(ctx); err != nil {
		return d, err
	}
	looks, watchErr := r.Target.WatchSeal(watched, d.pod, closeEvery, target.SealLook.Open)
	endPosts()
	d.looks, d.posts = looks, <-posts
	if ctx.Err() != nil {
		return d, r.CannotTell(watchErr)
	}
	if _, err := trial.AwaitWhole(ctx, r.Target); err != nil {
		return d, fmt.Errorf("%s after the hold on pod %s was taken away %w", trial.WholeTimeout, d.pod, err)
	}
	return d, nil
}
