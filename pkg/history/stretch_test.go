package history

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// whole judges a key in one piece, as porcupine is meant to be used, without
// anything that settle and stretches know.
func whole(ops []Op) Verdict {
	var all []Op
	for _, op := range ops {
		switch {
		case op.Outcome == Unknown && op.Kind == Write:
			op.Return = 1 << 62
		case op.Outcome != OK:
			continue
		}
		all = append(all, op)
	}
	return verdictOf(porcupine.CheckOperationsTimeout(registerAt(0), operations(all), 20*time.Second))
}

// Whatever is broken in a history, it is found in stretches just as it is in one
// piece.
func TestStretchesChangeNoVerdict(t *testing.T) {
	cut, verdicts := 0, map[Verdict]int{}
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 7))
		ops, _ := simulate(1500, 1, seed)
		for range rng.IntN(3) {
			op := &ops[rng.IntN(len(ops))]
			switch rng.IntN(4) {
			case 0:
				op.Version = max(0, op.Version-1)
			case 1:
				op.Value = ops[rng.IntN(len(ops))].Value + "x"
			case 2:
				op.Call -= 40 * ms
			case 3:
				op.Call, op.Return = op.Call+40*ms, op.Return+40*ms
			}
		}
		key := ops[0].Key
		positions := byKey(ops, func(op Op) bool { return op.Outcome == OK || op.Kind == Write })[key]
		got := judgeKey(t.Context(), ops, positions)
		want := whole(ops)
		if want == Undecided {
			continue
		}
		if got.verdict != want {
			t.Errorf("seed %d: in stretches it is %s, in one piece %s", seed, got.verdict, want)
		}
		verdicts[want]++
		cut += len(stretches(settle(append([]Op{}, ops...))))
	}
	if cut < 100 || verdicts[IsLinearizable] < 5 || verdicts[Violation] < 5 {
		t.Errorf("%d stretches with the verdicts %v are too few to test anything", cut, verdicts)
	}
}

func TestDoubtIsSettledWhereItCanBe(t *testing.T) {
	ops := []Op{
		write("a", 0, 1, 0, 1, OK),
		write("seen", 1, 0, 2, 3, Unknown), read("seen", 2, 40, 41), read("seen", 2, 30, 33),
		write("dead", 2, 0, 42, 43, Unknown), write("b", 2, 3, 50, 51, OK),
		write("open", 3, 0, 60, 61, Unknown),
	}
	got := map[string]int64{}
	for _, op := range settle(ops) {
		if op.Outcome == Unknown {
			got[op.Value] = op.Return
		}
	}
	if got["seen"] != 33*ms {
		t.Errorf("a write that was seen at 33 ms ended at %d ns", got["seen"])
	}
	if _, ok := got["dead"]; ok || len(got) != 2 {
		t.Errorf("in doubt are %v, want seen and open", got)
	}
	if got["open"] < 1<<62 {
		t.Errorf("a write that nobody saw ended at %d ns, want never", got["open"])
	}
}
