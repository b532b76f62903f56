package machine

import (
	"slices"
	"time"
)

// Row of the table: in facts that fit When, the pod is in State, and Step is
// due at that Pace.
type Row struct {
	Name  string // unique; a change of it is a transition
	State State
	Step  Step
	Pace  Pace
	When  func(Facts) bool
	// Why tells an admin what is the matter and what to do, if anything.
	Why func(Facts) string
	// Trouble is what makes the row new again although its name is the same.
	Trouble func(Facts) Trouble
}

// Table holds the rows in order of precedence: the first that fits decides.
var Table = slices.Concat(firstRows, emptyRows, sealedRows, openRows)

var firstRows = []Row{
	// Keys that exist only in memory come before everything, a silent Vault included.
	{Name: "keys-in-hand", State: Initialised, Step: Keep, Pace: Now, When: func(f Facts) bool { return f.KeysInHand },
		Trouble: custody, Why: func(f Facts) string {
			if f.Custody.Is() {
				return "Vault is initialised, but custody does not take the keys; they are in this process's memory only, so do not restart this pod. Mend custody: " + f.Custody.Text
			}
			return "Vault is initialised; storing its keys in custody and reading each back"
		}},

	{Name: "silent-cold", State: Connecting, Step: Prefetch, Pace: Fast, When: func(f Facts) bool { return !f.Answers && !f.Warm },
		Trouble: silence, Why: silent},
	{Name: "silent", State: Connecting, Pace: Fast, When: func(f Facts) bool { return !f.Answers }, Trouble: silence, Why: silent},

	{Name: "removed", State: Blocked, Pace: Slow, When: func(f Facts) bool { return f.Removed },
		Why: func(f Facts) string {
			return "this node was removed from its raft cluster and cannot be unsealed: delete its volume claim and then pod " + f.Pod + ", and it joins anew"
		}},
	{Name: "restoring", State: Waiting, Pace: Fast, When: func(f Facts) bool { return f.Restoring },
		Why: say("a snapshot is being restored into this Vault; leaving it alone until that is through")},
}

func custody(f Facts) Trouble { return f.Custody }
func sealed(f Facts) Trouble {
	if f.Custody.Is() {
		return f.Custody
	}
	return f.Unsealing
}
func marking(f Facts) Trouble { return f.Marking }
func silence(f Facts) Trouble { return f.Silence }

func silent(f Facts) string {
	if f.Silence.Is() {
		return "Vault does not answer on this pod's loopback: " + f.Silence.Text
	}
	return "waiting for Vault's first answer"
}

func say(s string) func(Facts) string { return func(Facts) string { return s } }

func withCustody(doing string) func(Facts) string { return with(doing, custody) }

// with adds to what is being done why it failed.
func with(doing string, trouble func(Facts) Trouble) func(Facts) string {
	return func(f Facts) string {
		if t := trouble(f); t.Is() {
			return doing + ", which failed and is tried again: " + t.Text
		}
		return doing
	}
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
