package report

import (
	"fmt"
	"strings"
	"time"
)

// Baseline is what a comparison with an earlier run found. Package baseline
// makes it; Judge takes the regressions in it for broken promises.
type Baseline struct {
	// RunID, Started, Verdict and VaultVersion are those of the earlier run.
	RunID        string    `json:"runId"`
	Started      time.Time `json:"started"`
	Verdict      Verdict   `json:"verdict"`
	VaultVersion string    `json:"vaultVersion"`
	// Failed are the checks that passed then and failed now, Unproved those that
	// passed then and now were skipped or inconclusive, Unasked those that passed
	// then and were not asked for now.
	Failed   []string `json:"failed"`
	Unproved []string `json:"unproved"`
	Unasked  []string `json:"unasked"`
	// Times compares what faults were measured by.
	Times []Timing `json:"times"`
	// Notes are sentences on what the two runs do not have in common.
	Notes []string `json:"notes"`
}

// Outcome is what the comparison of one time says.
type Outcome string

// The outcomes of a comparison.
const (
	// Slower: by more than the noise of both runs.
	Slower Outcome = "slower"
	// NotSlower: no sign of it in enough trials.
	NotSlower Outcome = "not-slower"
	// TooFew: there are too few trials to tell.
	TooFew Outcome = "too-few"
)

// Timing compares one time of one kind of fault, over the trials of both runs.
type Timing struct {
	Check string `json:"check"`
	Kind  string `json:"kind"`
	// What is the outage or a phase.
	What string `json:"what"`
	Then Sample `json:"then"`
	Now  Sample `json:"now"`
	// P is the chance of such a difference, or a greater one, if nothing became
	// slower by more than what matters.
	P       float64 `json:"p"`
	Outcome Outcome `json:"outcome"`
	// Enough is how many trials of each run could tell, where these could not.
	Enough int `json:"enough,omitempty"`
}

// Sample is a measurement over trials.
type Sample struct {
	N        int     `json:"n"`
	MedianMS float64 `json:"medianMs"`
}

// regressions are the sentences that deny a certificate.
func (b *Baseline) regressions() []string {
	if b == nil {
		return nil
	}
	var all []string
	if len(b.Failed) > 0 {
		all = append(all, fmt.Sprintf("%s passed in run %s, the baseline, and failed now.", list(b.Failed), b.RunID))
	}
	var heads []string
	items := map[string][]string{}
	for _, t := range b.Times {
		if t.Outcome != Slower {
			continue
		}
		head := fmt.Sprintf("%s (%s)", t.Check, t.Kind)
		if items[head] == nil {
			heads = append(heads, head)
		}
		items[head] = append(items[head], fmt.Sprintf("%s %s in %s now, %s in %s then",
			t.What, span(t.Now.MedianMS), count(t.Now.N, "trial"), span(t.Then.MedianMS), count(t.Then.N, "trial")))
	}
	for _, head := range heads {
		all = append(all, fmt.Sprintf("%s became slower than in run %s, the baseline, beyond the noise of both (medians): %s.",
			head, b.RunID, strings.Join(items[head], "; ")))
	}
	return all
}

// open are the sentences on what was proved then and is not now.
func (b *Baseline) open() []string {
	if b == nil || len(b.Unproved) == 0 {
		return nil
	}
	return []string{fmt.Sprintf("%s passed in run %s, the baseline, and %s not judged now.", list(b.Unproved), b.RunID, plural(len(b.Unproved), "was", "were"))}
}

// remarks are the sentences that stand in nobody's way.
func (b *Baseline) remarks() []string {
	if b == nil {
		return nil
	}
	notes := append([]string{}, b.Notes...)
	if len(b.Unasked) > 0 {
		notes = append(notes, fmt.Sprintf("%s passed in run %s, the baseline, and %s not asked for now.", list(b.Unasked), b.RunID, plural(len(b.Unasked), "was", "were")))
	}
	enough, seen := 0, map[string]bool{}
	var few []string
	for _, t := range b.Times {
		if t.Outcome != TooFew {
			continue
		}
		enough = max(enough, t.Enough)
		item := fmt.Sprintf("%s (%d then, %d now)", t.Check, t.Then.N, t.Now.N)
		if !seen[item] {
			seen[item] = true
			few = append(few, item)
		}
	}
	if len(few) > 0 {
		notes = append(notes, fmt.Sprintf("There are too few trials to tell a time that became longer since run %s, the baseline, from noise: %s; %d in each run would do.",
			b.RunID, list(few), enough))
	}
	return notes
}
