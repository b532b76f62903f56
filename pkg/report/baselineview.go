package report

import "math"

// baselineView is the part of the page on the comparison with an earlier run.
type baselineView struct {
	*Baseline
	Says  string // one sentence
	Tone  string
	Rows  []timingView
	Fewer int // times that too few trials were made to compare
}

type timingView struct {
	Timing
	Was, Is string
	Change  string // by which part it is longer or shorter
}

// baselineViewOf prepares the comparison; nil if there was none.
func baselineViewOf(b *Baseline) *baselineView {
	if b == nil {
		return nil
	}
	v := &baselineView{Baseline: b}
	slower := 0
	for _, t := range b.Times {
		switch t.Outcome {
		case Slower:
			slower++
		case TooFew:
			v.Fewer++
		}
		v.Rows = append(v.Rows, timingView{Timing: t, Was: span(t.Then.MedianMS), Is: span(t.Now.MedianMS), Change: change(t)})
	}
	switch bad := slower + len(b.Failed); {
	case bad > 0:
		v.Tone, v.Says = "bad", count(len(b.Failed), "check")+" failed that passed then, and "+count(slower, "time")+" became longer beyond the noise of both runs."
	case len(b.Unproved) > 0:
		v.Says = count(len(b.Unproved), "check") + " passed then and could not be judged now."
	default:
		v.Tone, v.Says = "good", "Nothing became worse that these two runs can tell."
	}
	return v
}

func change(t Timing) string {
	if t.Then.MedianMS <= 0 || t.Now.MedianMS == t.Then.MedianMS {
		return "–"
	}
	percent := math.Round((t.Now.MedianMS/t.Then.MedianMS - 1) * 100)
	if percent < 0 {
		return number(percent) + " %"
	}
	return "+" + number(percent) + " %"
}
