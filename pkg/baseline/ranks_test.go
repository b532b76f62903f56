package baseline

import (
	"math"
	"math/bits"
	"math/rand/v2"
	"testing"
)

// counted is greater by trying every way to deal the values out.
func counted(r ranks) float64 {
	reached, all := 0, 0
	for set := range 1 << len(r.doubled) {
		if bits.OnesCount(uint(set)) != r.n {
			continue
		}
		sum := 0
		for i, d := range r.doubled {
			if set&(1<<i) != 0 {
				sum += d
			}
		}
		all++
		if sum >= r.sum {
			reached++
		}
	}
	return float64(reached) / float64(all)
}

func drawn(random *rand.Rand, n, values int) []float64 {
	ms := make([]float64, n)
	for i := range ms {
		ms[i] = float64(random.IntN(values))
	}
	return ms
}

func TestGreaterIsCounted(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		n, m := 1+random.IntN(6), 1+random.IntN(6)
		values := 2 + random.IntN(40) // few values make many ties
		r := rank(drawn(random, n, values), drawn(random, m, values))
		if got, want := r.greater(), counted(r); math.Abs(got-want) > 1e-9 {
			t.Fatalf("greater of %+v is %g, counting says %g", r, got, want)
		}
	}
}

func TestLeastIsThatOfTheHighest(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 200 {
		n, m := 1+random.IntN(6), 1+random.IntN(6)
		r := rank(drawn(random, n, 8), drawn(random, m, 8))
		highest := r
		highest.sum = 0
		for _, d := range r.doubled[m:] {
			highest.sum += d
		}
		if got, want := r.least(), counted(highest); math.Abs(got-want) > 1e-9 {
			t.Fatalf("least of %+v is %g, counting says %g", r, got, want)
		}
	}
}

func TestApproximationMeetsTheCount(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	for range 50 {
		r := rank(drawn(random, 28, 60), drawn(random, 28, 60))
		if exact, near := r.greater(), r.approximately(); math.Abs(exact-near) > 0.01 {
			t.Errorf("by count %g, by the normal distribution %g", exact, near)
		}
	}
	same := rank([]float64{0, 0, 0}, []float64{0, 0, 0, 0})
	if same.greater() != 1 || same.approximately() != 1 {
		t.Errorf("values that are all equal: %g and %g, want 1", same.greater(), same.approximately())
	}
}

func TestEnough(t *testing.T) {
	for level, want := range map[float64]int{0.05: 3, 0.05 / 112: 7, 0.05 / 2000: 9} {
		if got := enough(level); got != want {
			t.Errorf("for level %g %d trials, want %d", level, got, want)
		}
	}
}
