package conformance

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onsi/ginkgo/v2"
	"github.com/onsi/ginkgo/v2/types"

	"github.com/vaultproof/vaultproof/pkg/report"
)

// checkOf is a registered check.
func checkOf(id string, m Manner, body Body) registered {
	c := good()
	c.ID, c.Manner = id, m
	return registered{check: c, kind: Conformance, body: body}
}

// crewed gives a session a crew of these checks.
func crewed(t *testing.T, checks ...registered) *session {
	t.Helper()
	s := newTestSession(t)
	s.deafAfter = time.Second
	s.crew = newCrew(t.Context(), checks, s.performBeside)
	t.Cleanup(func() { s.crew.end(errors.New("the test is over")) })
	return s
}

func passes(ginkgo.SpecContext, *Case) error { return nil }

// hangs until it is told to end.
func hangs(ctx ginkgo.SpecContext, _ *Case) error {
	<-ctx.Done()
	return ctx.Err()
}

func (s *session) mustEnd(t *testing.T, id string, want report.Status, reason string) {
	t.Helper()
	got, ended := s.result(id)
	if !ended || got.Status != want || !strings.Contains(got.Reason, reason) {
		t.Errorf("%s: %+v (ended %t), want %s because of %q", id, got, ended, want, reason)
	}
}

func TestChecksThatOnlyReadOverlap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var running, most atomic.Int32
		var checks []registered
		for i := range 3 * atOnce {
			checks = append(checks, checkOf(fmt.Sprintf("ACT-%02d", i), Reads, func(_ ginkgo.SpecContext, r *Case) error {
				n := running.Add(1)
				defer running.Add(-1)
				most.Store(max(n, most.Load()))
				time.Sleep(time.Minute)
				r.Measure("number_total", float64(i))
				return nil
			}))
		}
		s := crewed(t, checks...)
		began := time.Now()
		for _, c := range slices.Backward(checks) { // in whatever order Ginkgo asks
			if !s.crew.await(t.Context(), c) {
				t.Fatalf("%s is not in the crew", c.check.ID)
			}
			s.mustEnd(t, c.check.ID, report.Passed, "")
		}
		if took := time.Since(began); took != 3*time.Minute || most.Load() != atOnce {
			t.Errorf("%d checks of a minute took %s, %d at a time; want %d at a time", len(checks), took, most.Load(), atOnce)
		}
		if got, _ := s.result("ACT-05"); got.Measurements["number_total"] != 5 || got.Seconds != 60 {
			t.Errorf("ACT-05 has the result %+v", got)
		}
	})
}

func TestOneThatBreaksLeavesTheOthersAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := checkOf("ACT-03", Reads, hangs)
		slow.check.Timeout = time.Minute
		deaf := checkOf("ACT-04", Reads, func(ginkgo.SpecContext, *Case) error { time.Sleep(time.Hour); return nil })
		deaf.check.Timeout = time.Minute
		checks := []registered{
			checkOf("ACT-01", Reads, func(ginkgo.SpecContext, *Case) error { panic("index out of range") }),
			checkOf("ACT-02", Reads, passes), slow, deaf,
		}
		s := crewed(t, checks...)
		for _, c := range checks {
			s.crew.await(t.Context(), c)
		}
		s.mustEnd(t, "ACT-01", report.Inconclusive, "index out of range")
		s.mustEnd(t, "ACT-02", report.Passed, "")
		s.mustEnd(t, "ACT-03", report.Inconclusive, "its time of 1m0s was over")
		s.mustEnd(t, "ACT-04", report.Inconclusive, "did not within 1s")
		time.Sleep(2 * time.Hour) // the deaf one has ended, and changes nothing any more
		s.mustEnd(t, "ACT-04", report.Inconclusive, "did not within 1s")
	})
}

func TestWhatDisturbsHasTheTargetToItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		looking, apart := time.Minute, 150*time.Second
		lasts := func(d time.Duration) Body {
			return func(ginkgo.SpecContext, *Case) error { time.Sleep(d); return nil }
		}
		read := checkOf("ACT-01", Reads, lasts(looking))
		own := checkOf("TLS-08", Beside, lasts(looking))
		lab := checkOf("BOOT-03", Apart, lasts(apart))
		restart := checkOf("BOOT-04", Disturbs, nil)
		chaos := registered{check: good(), kind: Chaos}
		last := checkOf("OPS-07", Disturbs, nil)
		last.check.Last = true
		s := crewed(t, read, own, lab)
		began := time.Now()
		at := func(want time.Duration, what string) {
			t.Helper()
			if got := time.Since(began); got != want {
				t.Errorf("%s at %s, want at %s", what, got, want)
			}
		}
		s.crew.makeWay(t.Context(), read)
		s.crew.start(Reads)
		at(0, "the first looks")
		s.crew.makeWay(t.Context(), own)
		at(looking, "a check with a pod of its own begins")
		s.crew.start(Beside)
		s.crew.makeWay(t.Context(), restart)
		at(2*looking, "a standby is restarted")
		if _, ended := s.result(lab.check.ID); ended {
			t.Error("the lab has ended")
		}
		s.crew.makeWay(t.Context(), chaos)
		at(apart, "a fault is injected")
		s.crew.makeWay(t.Context(), last)
		at(apart, "the run is judged")
		s.mustEnd(t, "BOOT-03", report.Passed, "")
	})
}

func TestAFaultDoesNotStartTheLab(t *testing.T) {
	s := crewed(t, checkOf("BOOT-03", Apart, passes))
	s.crew.makeWay(t.Context(), registered{check: good(), kind: Chaos})
	if _, ended := s.result("BOOT-03"); ended {
		t.Error("it ran")
	}
}

func TestAnInterruptEndsAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var begun, cleaned atomic.Int32
		body := func(ctx ginkgo.SpecContext, r *Case) error {
			begun.Add(1)
			r.Defer(func(ctx context.Context) error {
				cleaned.Add(1)
				return ctx.Err() // of a context that is alive
			})
			return hangs(ctx, r)
		}
		lab := checkOf("BOOT-03", Apart, body)
		checks := []registered{lab}
		for i := range atOnce + 3 {
			checks = append(checks, checkOf(fmt.Sprintf("ACT-%02d", i), Reads, body))
		}
		s := crewed(t, checks...)
		s.selected = []string{"ACT-10"}
		ctx, interrupt := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { interrupt(errors.New("Interrupted by User")) })
		s.crew.makeWay(ctx, checks[1])
		s.crew.await(ctx, checks[1])
		if err := s.crew.close(t.Context()); err != nil {
			t.Error(err)
		}
		if begun.Load() != atOnce+1 || cleaned.Load() != begun.Load() || len(s.broken) > 0 {
			t.Errorf("%d began, %d cleaned up (%v); want %d, and none after the interrupt", begun.Load(), cleaned.Load(), s.broken, atOnce+1)
		}
		results := 0
		for _, c := range checks {
			if _, ended := s.result(c.check.ID); ended {
				results++
				s.mustEnd(t, c.check.ID, report.Inconclusive, "Interrupted by User")
			}
		}
		if results != atOnce+1 {
			t.Errorf("%d checks have a result, want those that began", results)
		}
	})
}

func TestCloseWaitsNoLongerThanItMay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := crewed(t, checkOf("ACT-01", Reads, func(_ ginkgo.SpecContext, r *Case) error {
			r.Defer(func(context.Context) error { time.Sleep(10 * time.Minute); return nil })
			return nil
		}))
		s.crew.start(Reads)
		synctest.Wait() // it is at its cleaning up
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := s.crew.close(ctx); err == nil || !strings.Contains(err.Error(), "waiting for ACT-01 to clean up") {
			t.Errorf("closing says %v", err)
		}
		time.Sleep(time.Hour)
	})
	var none *crew
	if err := none.close(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestCleanUpsComeInReverseAndEvenLate(t *testing.T) {
	var order []int
	u := &cleanUps{ctx: t.Context()}
	for i := range 3 {
		u.add(func(context.Context) error { order = append(order, i); return nil })
	}
	u.run()
	u.add(func(context.Context) error { order = append(order, 3); return nil })
	if !slices.Equal(order, []int{2, 1, 0, 3}) {
		t.Errorf("cleaned up in the order %v", order)
	}
}

// TestCaseIsSafeForManyGoroutines means something under the race detector only.
func TestCaseIsSafeForManyGoroutines(t *testing.T) {
	s := newTestSession(t)
	u := &cleanUps{ctx: t.Context()}
	r := s.newCase(good(), u.add)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			r.Measure("x_total", float64(i))
			r.Note("number %d", i)
			r.Defer(func(context.Context) error { return errors.New("it is still there") })
			r.Fault(report.Fault{})
			r.sum(nil, 0)
		})
	}
	all.Wait()
	u.run()
	if len(s.broken) != 1 || !strings.Contains(s.broken[0], "cleaning up after ACT-01: it is still there") || len(s.injected) != 8 {
		t.Errorf("broken %v, %d faults", s.broken, len(s.injected))
	}
}

func TestMembersAreWhatGinkgoWillRun(t *testing.T) {
	withCatalogue(t, checksNamed("ACT-01", "ACT-02", "RES-01")...)
	for want, c := range map[string]types.SuiteConfig{
		"ACT-01 ACT-02": {},
		"ACT-02":        {FocusStrings: []string{"ACT-02", "RES"}},
		"ACT-01":        {SkipStrings: []string{"02 a"}},
		"":              {SkipStrings: []string{"^vaultproof, profile smoke "}},
	} {
		got, err := members([]string{"ACT-01", "ACT-02"}, "vaultproof, profile smoke", c)
		var ids []string
		for _, one := range got {
			ids = append(ids, one.check.ID)
		}
		if err != nil || strings.Join(ids, " ") != want {
			t.Errorf("%v chooses %v (%v), want %s", c.FocusStrings, ids, err, want)
		}
	}
	if _, err := members(nil, "", types.SuiteConfig{FocusStrings: []string{"("}}); err == nil {
		t.Error("a focus that is no expression was taken")
	}
}

func TestMannersAreInOrder(t *testing.T) {
	last := checkOf("OPS-07", Disturbs, nil)
	last.check.Last = true
	order := []registered{
		checkOf("ACT-01", Reads, nil), checkOf("TLS-08", Beside, nil), checkOf("BOOT-04", Disturbs, nil),
		checkOf("BOOT-03", Apart, nil), {check: good(), kind: Chaos}, last,
	}
	if !slices.IsSortedFunc(order, func(a, b registered) int { return b.priority() - a.priority() }) {
		t.Error("the priorities are not in order")
	}
	for name, edit := range map[string]func(*Check){
		"a fault beside others":     func(c *Check) { c.Manner = Reads },
		"a judgement beside others": func(c *Check) { c.Manner, c.Last = Beside, true },
		"an unknown manner":         func(c *Check) { c.Manner = Apart + 1 },
	} {
		c := good()
		edit(&c)
		if err := c.validate(Chaos); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}
