package history

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func judge(t *testing.T, ops []Op) Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	result, err := Linearizable(ctx, ops)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

func TestLinearizable(t *testing.T) {
	base := []Op{read("", 0, 0, 1), write("a", 0, 1, 2, 4, OK), read("a", 1, 5, 6), write("b", 1, 2, 7, 9, OK), read("b", 2, 10, 11)}
	doubt := write("c", 2, 0, 12, 14, Unknown)
	with := func(more ...Op) []Op { return append(base[:len(base):len(base)], more...) }
	for name, test := range map[string]struct {
		ops  []Op
		want bool
	}{
		"plain":                              {base, true},
		"read while writing, old":            {with(read("a", 1, 7, 9)), true},
		"read while writing, new":            {with(read("b", 2, 7, 8)), true},
		"doubtful write never seen":          {with(doubt, read("b", 2, 20, 21)), true},
		"doubtful write seen late":           {with(doubt, read("b", 2, 20, 21), read("c", 3, 30, 31)), true},
		"doubtful write lost to another":     {with(doubt, write("d", 2, 3, 20, 21, OK), read("d", 3, 22, 23)), true},
		"doubtful write seen, then unseen":   {with(doubt, read("c", 3, 20, 21), read("b", 2, 30, 31)), false},
		"doubtful write and another":         {with(doubt, read("c", 3, 20, 21), write("d", 2, 3, 30, 31, OK)), false},
		"failed write seen":                  {with(write("c", 2, 0, 12, 14, Fail), read("c", 3, 20, 21)), false},
		"stale read":                         {with(read("a", 1, 20, 21)), false},
		"read of a key that vanished":        {with(read("", 0, 20, 21)), false},
		"lost write":                         {with(write("c", 2, 3, 12, 13, OK), write("d", 2, 3, 20, 21, OK)), false},
		"duplicate version, same time":       {with(write("c", 2, 3, 12, 20, OK), write("d", 2, 3, 12, 20, OK)), false},
		"cas broken":                         {with(write("c", 1, 3, 12, 13, OK)), false},
		"version skipped":                    {with(write("c", 2, 4, 12, 13, OK)), false},
		"value never written":                {with(read("z", 3, 12, 13)), false},
		"read before its write":              {[]Op{read("a", 1, 0, 1), write("a", 0, 1, 2, 3, OK)}, false},
		"reads without answer prove nothing": {with(Op{Kind: Read, Key: "k", Outcome: Unknown, Version: 1, Value: "a", Call: 20, Return: 21}), true},
	} {
		result := judge(t, test.ops)
		if result.OK != test.want {
			t.Errorf("%s: OK is %v, want %v: %s", name, result.OK, test.want, result.Info)
		}
		if result.OK != (result.Verdict == IsLinearizable) || result.Info == "" {
			t.Errorf("%s: the result contradicts itself: %+v", name, result)
		}
	}
}

func TestViolationNamesKeyAndPods(t *testing.T) {
	ops := []Op{write("a", 0, 1, 0, 1, OK), write("b", 1, 2, 2, 3, OK), read("a", 1, 10, 11)}
	good := write("x", 0, 1, 0, 1, OK)
	good.Key = "innocent"
	result := judge(t, append(ops, good))
	for _, want := range []string{"1 of 2 keys", "k (3 operations)", "vault-1 returned version 1", "version 2", "vault-0"} {
		if !strings.Contains(result.Info, want) {
			t.Errorf("the verdict is %q, it does not say %q", result.Info, want)
		}
	}
	path := filepath.Join(t.TempDir(), "k.html")
	if err := result.Visualize(path); err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(path)
	if err != nil || !strings.Contains(string(page), "answered by vault-1") {
		t.Errorf("the picture does not name the pod that answered (%v)", err)
	}
	if err := judge(t, ops[:1]).Visualize(path); err == nil {
		t.Error("a good history was drawn as a violation")
	}
}

func TestUnfitHistories(t *testing.T) {
	for name, ops := range map[string][]Op{
		"empty":            nil,
		"no answers":       {write("a", 0, 0, 0, 1, Fail)},
		"value used twice": {write("a", 0, 1, 0, 1, OK), write("a", 1, 2, 2, 3, OK)},
		"invalid":          {{Kind: "scan", Key: "k", Outcome: OK}},
	} {
		if result, err := Linearizable(t.Context(), ops); err == nil || result.OK {
			t.Errorf("%s: judged %+v, want an error", name, result)
		}
	}
}

func TestNoTimeIsUndecided(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	result, err := Linearizable(ctx, []Op{write("a", 0, 1, 0, 1, OK)})
	if err != nil || result.OK || result.Verdict != Undecided || result.Key != "k" {
		t.Errorf("judged %+v, %v without time; want undecided on k", result, err)
	}
}

// simulate runs clients against a perfect register and gives the history.
// A fiftieth of the writes end unknown: half of those took place.
func simulate(n, keys int, seed uint64) ([]Op, map[string]State) {
	rng := rand.New(rand.NewPCG(seed, seed))
	state := map[string]State{}
	busy := map[string]int64{}
	ops := make([]Op, 0, n)
	for i := range n {
		key := fmt.Sprintf("k%04d", rng.IntN(keys))
		at := int64(i) * ms // when it takes place
		op := Op{Client: i, Key: key, Call: at - rng.Int64N(3*ms), Return: at + rng.Int64N(3*ms), Outcome: OK}
		s := state[key]
		if i%2 == 0 && op.Call > busy[key] {
			op.Kind, op.Value, op.CAS = Write, fmt.Sprintf("v%d", i), s.Version
			busy[key] = op.Return
			switch rng.IntN(100) {
			case 0: // never took place
				op.Outcome = Unknown
			case 1: // took place
				op.Outcome = Unknown
				state[key] = State{s.Version + 1, op.Value}
			default:
				op.Version = s.Version + 1
				state[key] = State{op.Version, op.Value}
			}
		} else {
			op.Kind, op.Value, op.Version = Read, s.Value, s.Version
		}
		ops = append(ops, op)
	}
	return ops, state
}

func TestSimulatedHistories(t *testing.T) {
	for seed := range uint64(5) {
		ops, final := simulate(5000, 40, seed)
		if result := judge(t, ops); !result.OK {
			t.Fatalf("seed %d: a good history is %s: %s", seed, result.Verdict, result.Info)
		}
		if losses := Lost(ops, Final{Registers: final}); len(losses) != 0 {
			t.Fatalf("seed %d: a good history lost %v", seed, losses)
		}
		// The same with one read made stale by one version.
		for i := len(ops) - 1; i >= 0; i-- {
			if op := &ops[i]; op.Kind == Read && op.Version > 1 {
				op.Version, op.Value = op.Version-1, "stale"
				break
			}
		}
		if result := judge(t, ops); result.Verdict != Violation {
			t.Fatalf("seed %d: a stale read is %s", seed, result.Verdict)
		}
	}
}

func BenchmarkLinearizable(b *testing.B) {
	for _, n := range []int{10_000, 100_000, 1_000_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			if n > 100_000 && testing.Short() {
				b.Skip("left out by -short")
			}
			ops, _ := simulate(n, 400, 1)
			b.ReportAllocs()
			for b.Loop() {
				result, err := Linearizable(b.Context(), ops)
				if err != nil || !result.OK {
					b.Fatal(result.Info, err)
				}
			}
			b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "ops/s")
		})
	}
}
