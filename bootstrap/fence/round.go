package fence

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/vaultproof/vaultproof/bootstrap/kube"
)

// result of a round.
type result struct {
	desired map[string]string // by pod: the label as it should be; those unknown are left out
	trouble trouble
	again   time.Duration // pause before the next round
}

// seen is a pod as it was read, or why it was not.
type seen struct {
	pod kube.Pod
	err error
}

// round reads labels, then gathers evidence, then writes, in this order.
func (f *Fence) round(ctx context.Context) result {
	verify := f.wroteOwn
	f.wroteOwn = false
	said := f.o.Registration.Said()
	all := f.hint.Load() || f.leading || said.On()
	began := time.Now()
	pods := f.read(ctx, all)
	f.carrier.seen(pods[f.o.Pod])

	e := f.evidence(ctx, said, pods[f.o.Pod].pod.Labels[Label] == "true")
	f.lead(e.active)
	now := f.o.Registration.Said() // with what Vault's health told
	if now.Seq != said.Seq || e.active && !all {
		// Vault has spoken since, or the hint was late and the others are unread.
		f.wroteOwn = verify
		return result{again: 0}
	}
	f.heard = now.Seq
	r := result{desired: f.desired(e), trouble: f.failed(pods), again: every}
	if e.trouble.kind != "" {
		r.trouble = e.trouble
	}
	if e.silent && now.On() && time.Since(now.At) < patience {
		r.again = opening
	}
	if time.Since(began) > roundLimit {
		r.again = 0
		return r
	}
	wrong, wait := f.wrong(pods, r.desired, verify)
	r.again = min(r.again, wait)
	f.mend(ctx, f.others(wrong, pods, now), e, &r)
	f.tell(r.desired[f.o.Pod], now)
	if f.wroteOwn && verify {
		// Somebody else keeps setting it: no race with them.
		f.wroteOwn, r.again = false, every
	}
	return r
}

// change of one pod's labels.
type change struct {
	pod kube.Pod
	to  map[string]string
}

// wrong picks the pods whose label is to be set now. The own one may have to
// wait, unless this round verifies what the last one wrote.
func (f *Fence) wrong(pods map[string]seen, desired map[string]string, verify bool) (wrong []change, wait time.Duration) {
	wait = every
	for name, want := range desired {
		s := pods[name]
		if s.err != nil || f.right(s.pod, want) {
			delete(f.wrongSince, name)
			if s.err == nil && name == f.o.Pod {
				f.carrier.active = want
			}
			continue
		}
		if _, known := f.wrongSince[name]; !known {
			f.wrongSince[name] = time.Now()
		}
		left := grace - time.Since(f.activeSince)
		if name == f.o.Pod && want == "true" && f.o.Registration == nil && !verify && left > 0 {
			wait = left
			continue
		}
		wrong = append(wrong, change{s.pod, map[string]string{Label: want}})
	}
	return wrong, wait
}

// right tells whether the label says what is wanted. One that is absent says
// false, but for the own pod if this is where its labels come from.
func (f *Fence) right(p kube.Pod, want string) bool {
	if f.o.Registration != nil && p.Name == f.o.Pod {
		return p.Labels[Label] == want
	}
	return (p.Labels[Label] == "true") == (want == "true")
}

// lead keeps since when own Vault is active.
func (f *Fence) lead(active bool) {
	if active && !f.leading {
		f.activeSince = time.Now()
	}
	f.leading = active
}

// desired labels follow from the evidence. A pod that is not active knows no
// more than that.
func (f *Fence) desired(e evidence) map[string]string {
	switch {
	case e.trouble.kind != "":
		return nil
	case e.active:
		d := map[string]string{}
		for _, pod := range f.o.Pods {
			d[pod] = fmt.Sprint(pod == f.o.Pod)
		}
		return d
	case e.notActive:
		return map[string]string{f.o.Pod: "false"}
	}
	return nil
}

// read reads the own pod, or all of them at once.
func (f *Fence) read(ctx context.Context, all bool) map[string]seen {
	var mu sync.Mutex
	out := map[string]seen{}
	var wg sync.WaitGroup
	for _, name := range f.o.Pods {
		if !all && name != f.o.Pod {
			continue
		}
		wg.Go(func() {
			p, err := f.o.Kube.Pod(ctx, name)
			mu.Lock()
			defer mu.Unlock()
			out[name] = seen{p, err}
		})
	}
	wg.Wait()
	return out
}

// failed counts and reports what could not be read. A pod that does not exist
// has no label to be wrong.
func (f *Fence) failed(pods map[string]seen) (t trouble) {
	for _, s := range pods {
		if s.err != nil && kube.Kind(s.err) != kube.Kind(kube.ErrNotFound) {
			t = f.note(s.err)
		}
	}
	return t
}

// note counts one failed call.
func (f *Fence) note(err error) trouble {
	if errors.Is(err, context.Canceled) {
		return trouble{} // told to stop
	}
	kind := kube.Kind(err)
	f.o.Board.LabelFailed(kind)
	return trouble{kind: kind, text: err.Error()}
}

// mend writes the labels that are wrong, all at once.
func (f *Fence) mend(ctx context.Context, wrong []change, e evidence, r *result) {
	errs := make([]error, len(wrong))
	var wg sync.WaitGroup
	for i, c := range wrong {
		wg.Go(func() { errs[i] = f.o.Kube.SetLabels(ctx, c.pod, c.to) })
	}
	wg.Wait()
	for i, c := range wrong {
		to, active := c.to[Label]
		if c.pod.Name == f.o.Pod && active {
			// Written or not, for a lost answer says neither: look again at once.
			f.wroteOwn, r.again = true, 0
		}
		switch {
		case errs[i] != nil:
			r.trouble = f.note(errs[i])
		case f.carried(c):
			f.published(ctx, c, e)
		default:
			f.repaired(ctx, c.pod, to, e)
		}
	}
}
