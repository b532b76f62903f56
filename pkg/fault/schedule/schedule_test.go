package schedule

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

func seeded(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0)) }

func walk() Walk {
	return Walk{
		Kinds:   []Kind{{Name: "process-kill"}, {Name: "pod-delete"}, {Name: "zone-partition", MinHold: 10 * time.Second, MaxHold: 20 * time.Second}},
		Targets: []string{"vault-0", "vault-1", "vault-2"}, Faults: 10, Length: 10 * time.Minute,
	}
}

func plan(t *testing.T, seed uint64) []Step {
	t.Helper()
	steps, err := walk().Plan(seeded(seed))
	if err != nil {
		t.Fatal(err)
	}
	return steps
}

func TestASeedMakesTheSameWalkAgain(t *testing.T) {
	if a, b := plan(t, 7), plan(t, 7); !slices.Equal(a, b) {
		t.Errorf("seed 7 makes\n%v\nand then\n%v", a, b)
	}
	if slices.Equal(plan(t, 7), plan(t, 8)) {
		t.Error("two seeds make the same walk")
	}
}

func TestAWalkKeepsItsTime(t *testing.T) {
	w := walk()
	for seed := range uint64(50) {
		steps := plan(t, seed)
		if len(steps) != w.Faults {
			t.Fatalf("seed %d: %d steps, want %d", seed, len(steps), w.Faults)
		}
		kinds := map[string]int{}
		for i, s := range steps {
			pace := w.Length / time.Duration(w.Faults)
			if part := time.Duration(i) * pace; s.N != i+1 || s.At < part || s.At > part+pace/4 {
				t.Errorf("seed %d: %s is not in the first quarter of its minute", seed, s)
			}
			if held := s.Kind == "zone-partition"; held != (s.Hold >= 10*time.Second && s.Hold <= 20*time.Second) || !held && s.Hold != 0 {
				t.Errorf("seed %d: %s lasts %s", seed, s, s.Hold)
			}
			if !slices.Contains(w.Targets, s.Target) {
				t.Errorf("seed %d: %s hits nobody", seed, s)
			}
			if kinds[s.Kind]++; kinds[s.Kind] > i/len(w.Kinds)+1 {
				t.Errorf("seed %d: %s comes again before all kinds have come", seed, s)
			}
		}
	}
}

func TestAWalkThatCannotBe(t *testing.T) {
	for want, edit := range map[string]func(*Walk){
		"kinds of faults and targets": func(w *Walk) { w.Targets = nil },
		"0 faults is none":            func(w *Walk) { w.Faults = 0 },
		"are too many":                func(w *Walk) { w.Length = time.Minute },
		"which is no span":            func(w *Walk) { w.Kinds[0].MinHold = time.Second },
	} {
		w := walk()
		edit(&w)
		if _, err := w.Plan(seeded(1)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func TestRoundsTakeEveryTarget(t *testing.T) {
	targets := []string{"a", "b", "c"}
	steps := Rounds("node-drain", targets, 20, seeded(1))
	orders := map[string]bool{}
	for round := range slices.Chunk(steps, 3) {
		var order []string
		for _, s := range round {
			order = append(order, s.Target)
		}
		orders[strings.Join(order, "")] = true
		slices.Sort(order)
		if !slices.Equal(order, targets) {
			t.Errorf("a round takes %v, want each of %v", order, targets)
		}
	}
	if len(steps) != 60 || steps[59].N != 60 || len(orders) < 2 {
		t.Errorf("%d steps in %d orders", len(steps), len(orders))
	}
	if !slices.Equal(targets, []string{"a", "b", "c"}) {
		t.Error("the caller's targets were shuffled")
	}
}

func TestRunKeepsOrderAndTime(t *testing.T) {
	steps := []Step{{N: 1, Kind: "a"}, {N: 2, Kind: "b", At: 30 * time.Millisecond}, {N: 3, Kind: "c"}, {N: 4, Kind: "d"}}
	start, broken := time.Now(), errors.New("not whole")
	var took []string
	err := Run(t.Context(), steps, func(_ context.Context, s Step) error {
		took = append(took, s.Kind)
		if s.Kind == "b" && time.Since(start) < s.At {
			t.Errorf("b came after %s, before it was due", time.Since(start))
		}
		if s.Kind == "c" {
			return broken
		}
		return nil
	})
	if !errors.Is(err, broken) || !strings.Contains(err.Error(), "step 3, c") {
		t.Errorf("error %v, want that of step 3", err)
	}
	if !slices.Equal(took, []string{"a", "b", "c"}) {
		t.Errorf("it took %v", took)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Run(ended, []Step{{N: 1, Kind: "a", At: time.Hour}}, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("a run that is over goes on: %v", err)
	}
}
