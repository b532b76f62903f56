package schedule

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// MinPace is the least time for each fault of a walk: Vault must be whole again before
// the next one, or none could be told from another.
const MinPace = 30 * time.Second

// Kind is a kind of fault that a walk may take.
type Kind struct {
	Name string
	// MinHold and MaxHold are between how long the fault lasts, in whole seconds;
	// both are 0 for one that is over at once.
	MinHold, MaxHold time.Duration
}

// Walk is a random walk through kinds and targets: so many faults in so much time.
type Walk struct {
	Kinds   []Kind
	Targets []string
	Faults  int
	Length  time.Duration
}

// Plan draws the walk. The time is shared out evenly, and each fault is due somewhere in
// the first quarter of its part. Every kind comes once before one comes again, so that
// a short walk sees as many kinds as it can. The same numbers make the same walk.
func (w Walk) Plan(random *rand.Rand) ([]Step, error) {
	if err := w.check(); err != nil {
		return nil, err
	}
	pace := w.Length / time.Duration(w.Faults)
	var steps []Step
	var deck []Kind
	for n := range w.Faults {
		if len(deck) == 0 {
			deck = slices.Clone(w.Kinds)
			random.Shuffle(len(deck), func(i, j int) { deck[i], deck[j] = deck[j], deck[i] })
		}
		kind := deck[0]
		deck = deck[1:]
		steps = append(steps, Step{
			N:      n + 1,
			At:     (time.Duration(n)*pace + between(random, 0, pace/4)).Truncate(time.Millisecond),
			Kind:   kind.Name,
			Target: w.Targets[random.IntN(len(w.Targets))],
			Hold:   between(random, kind.MinHold, kind.MaxHold).Truncate(time.Second),
		})
	}
	return steps, nil
}

func (w Walk) check() error {
	switch {
	case len(w.Kinds) == 0 || len(w.Targets) == 0:
		return fmt.Errorf("a walk needs kinds of faults and targets, and has %d and %d", len(w.Kinds), len(w.Targets))
	case w.Faults < 1:
		return fmt.Errorf("a walk of %d faults is none", w.Faults)
	case w.Length/time.Duration(w.Faults) < MinPace:
		return fmt.Errorf("%d faults in %s are too many: each needs %s until Vault is whole again", w.Faults, w.Length, MinPace)
	}
	for _, k := range w.Kinds {
		if k.MinHold < 0 || k.MaxHold < k.MinHold {
			return fmt.Errorf("%s lasts between %s and %s, which is no span", k.Name, k.MinHold, k.MaxHold)
		}
	}
	return nil
}

// between draws a span; both ends may come.
func between(random *rand.Rand, least, most time.Duration) time.Duration {
	return least + time.Duration(random.Int64N(int64(most-least)+1))
}
