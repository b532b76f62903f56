package conformance

import (
	"context"
	"slices"
	"sync"
	"testing"

	"github.com/onsi/ginkgo/v2"
	"github.com/onsi/ginkgo/v2/types"

	"github.com/vaultproof/vaultproof/pkg/report"
)

var specsOnce sync.Once

// TestSpecs has Ginkgo run specs of all manners: each waits for its own check, and
// what disturbs begins when nobody looks any more.
func TestSpecs(t *testing.T) {
	ran := false
	specsOnce.Do(func() { ran = true })
	if !ran {
		t.Skip("Ginkgo runs specs once in a process")
	}
	withCatalogue(t)
	var mu sync.Mutex
	var order []string
	note := func(what string) {
		mu.Lock()
		defer mu.Unlock()
		order = append(order, what)
	}
	check := func(id string, m Manner, body Body) {
		c := good()
		c.ID, c.Manner = id, m
		It(c, Conformance, body)
	}
	met := make(chan struct{}, 2)
	meets := func(ctx ginkgo.SpecContext, r *Case) error {
		met <- struct{}{}
		for len(met) < 2 { // the other one is there too
			if ctx.Err() != nil {
				return r.CannotTell(ctx.Err())
			}
		}
		r.Defer(func(context.Context) error { note("cleaned"); return nil })
		return nil
	}
	check("BOOT-04", Disturbs, func(_ ginkgo.SpecContext, r *Case) error {
		r.Defer(func(context.Context) error { note("undone"); return nil })
		note("restart")
		return nil
	})
	check("ACT-01", Reads, meets)
	check("ACT-02", Reads, meets)
	check("ACT-03", Reads, func(_ ginkgo.SpecContext, r *Case) error { return r.Skip("there is no ingress") })
	check("ACT-04", Reads, passes)
	s := newTestSession(t)
	s.selected = []string{"ACT-01", "ACT-02", "ACT-03", "BOOT-04"}
	suite, reporter := s.ginkgoConfig(t)
	reporter.Succinct, reporter.JSONReport = true, ""
	all, err := members(s.selected, "specs", suite)
	if err != nil {
		t.Fatal(err)
	}
	s.crew = newCrew(t.Context(), all, s.performBeside)
	current = s
	defer func() { current = nil }()
	states := map[string]types.SpecState{}
	ginkgo.ReportAfterEach(func(r ginkgo.SpecReport) {
		for _, label := range r.Labels() {
			if slices.Contains(s.selected, label) {
				states[label] = r.State
			}
		}
	})
	ginkgo.RunSpecs(quiet{}, "specs", suite, reporter)
	for id, want := range map[string]types.SpecState{
		"ACT-01": types.SpecStatePassed, "ACT-02": types.SpecStatePassed, "ACT-03": types.SpecStateSkipped, "BOOT-04": types.SpecStatePassed,
	} {
		if states[id] != want {
			t.Errorf("the spec of %s ended %s, want %s", id, states[id], want)
		}
	}
	s.mustEnd(t, "ACT-03", report.Skipped, "there is no ingress")
	if _, ran := s.result("ACT-04"); ran {
		t.Error("a check ran that was not selected")
	}
	if !slices.Equal(order, []string{"cleaned", "cleaned", "restart", "undone"}) {
		t.Errorf("it went %v", order)
	}
}
