package trial

import (
	"time"

	"github.com/vaultproof/vaultproof/pkg/conformance"
)

// starving is how late the load may be to start an operation before its machine counts as
// starved. A prober that gets its share of a busy node is late by some tens of milliseconds.
const starving = 250 * time.Millisecond

// excused turns an outage beyond its budget into no judgement, if the machine was starved
// while it was measured: how long it would have been otherwise, nobody knows. An outage
// within its budget stays good, since an idle machine does not make it longer.
func excused(r *conformance.Case, results []Result, beyond error) error {
	for _, res := range results {
		if res.Late > starving {
			return r.Inconclusive("%w; but in %s the prober itself was %s late to start an operation, want %s at most: the machine had no time for its work, repeat it with less beside it",
				beyond, res.ID, Round(res.Late), starving)
		}
	}
	return beyond
}
