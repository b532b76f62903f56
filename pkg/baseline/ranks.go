package baseline

import (
	"math"
	"slices"
)

// exactUpTo is the number of values, of both samples together, up to which the
// rank-sum test is counted out; the normal approximation is good beyond.
const exactUpTo = 60

// ranks are two samples put in one order.
type ranks struct {
	doubled []int // of all values, sorted: twice the rank, values that are equal share theirs
	n, m    int   // how many of them are of the first and of the second sample
	sum     int   // of the doubled ranks of the first
}

func rank(x, y []float64) ranks {
	all := slices.Sorted(slices.Values(slices.Concat(x, y)))
	r := ranks{n: len(x), m: len(y)}
	of := map[float64]int{}
	for i := 0; i < len(all); {
		j := i
		for j < len(all) && all[j] == all[i] {
			j++
		}
		of[all[i]] = i + 1 + j // the first rank and the last
		for range j - i {
			r.doubled = append(r.doubled, i+1+j)
		}
		i = j
	}
	for _, v := range x {
		r.sum += of[v]
	}
	return r
}

// greater is the chance that the first sample ranks as high as it does, or
// higher, if it makes no difference which value is of which sample.
func (r ranks) greater() float64 {
	if r.n+r.m > exactUpTo {
		return r.approximately()
	}
	// chance[k][s]: k of the values so far are of the first sample and their
	// ranks add up to s, dealing one value after the other.
	top := 0
	for _, d := range r.doubled {
		top += d
	}
	chance := make([][]float64, r.n+1)
	for k := range chance {
		chance[k] = make([]float64, top+1)
	}
	chance[0][0] = 1
	reach := 0 // the greatest sum so far
	for i, d := range r.doubled {
		left := float64(len(r.doubled) - i)
		for k := min(i, r.n); k >= 0; k-- {
			take := float64(r.n-k) / left
			for s := range reach + 1 {
				c := chance[k][s]
				if c == 0 {
					continue
				}
				if take > 0 {
					chance[k+1][s+d] += c * take
				}
				chance[k][s] = c * (1 - take)
			}
		}
		reach += d
	}
	p := 0.0
	for s := r.sum; s <= top; s++ {
		p += chance[r.n][s]
	}
	return min(p, 1)
}

// approximately is greater by the normal distribution, with corrections for
// values that are equal and for the sum's being a whole number.
func (r ranks) approximately() float64 {
	n, m := float64(r.n), float64(r.m)
	all := n + m
	ties := 0.0
	for i := 0; i < len(r.doubled); {
		j := i
		for j < len(r.doubled) && r.doubled[j] == r.doubled[i] {
			j++
		}
		t := float64(j - i)
		ties += t*t*t - t
		i = j
	}
	variance := n * m / 12 * (all + 1 - ties/(all*(all-1)))
	if variance <= 0 {
		return 1 // all are equal
	}
	z := (float64(r.sum)/2 - n*(all+1)/2 - 0.5) / math.Sqrt(variance)
	return math.Erfc(z/math.Sqrt2) / 2
}

// least is the smallest chance that any dealing of these values has: that of the
// first sample's being the highest ones.
func (r ranks) least() float64 {
	edge := r.doubled[len(r.doubled)-r.n]
	equal, above := 0, 0
	for _, d := range r.doubled {
		switch {
		case d == edge:
			equal++
		case d > edge:
			above++
		}
	}
	return ways(equal, r.n-above) / ways(r.n+r.m, r.n)
}

// ways is the number of ways to choose k of n.
func ways(n, k int) float64 {
	c := 1.0
	for i := 1; i <= k; i++ {
		c = c * float64(n-k+i) / float64(i)
	}
	return c
}

// enough is how many trials each of two runs needs to be able to reach a level.
func enough(level float64) int {
	n := 2
	for 1/ways(2*n, n) > level {
		n++
	}
	return n
}
