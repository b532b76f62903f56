package conformance

// Manner is what a check does to the target while it runs, and so what may run
// at the same time. Checks of different manners never overlap, those that are
// Apart excepted.
type Manner int

const (
	// Disturbs: the check restarts a standby, makes a root token or breaks
	// something, be it for a moment. It runs alone. A check that says nothing of
	// itself is taken for one.
	Disturbs Manner = iota
	// Reads: the check only looks at the target, and leaves nothing behind that
	// another one could see. Such checks run first, at the same time.
	Reads
	// Beside: the check works in pods of its own and leaves Vault alone. Others
	// of its kind may do so at the same time; those that look at the whole target
	// are over by then, because they might take such a pod for Vault's.
	Beside
	// Apart: the check has a Vault of its own, elsewhere, and needs nothing of
	// the target but processor time. It starts with the first check and goes on
	// beside all others until faults are to be injected: outages are measured on
	// a machine that is not busy with something else.
	Apart
)

// priority is Ginkgo's: checks that only look come first, because they judge the
// target as it was found; then those that touch it, then faults, then what judges
// the whole run.
func (c registered) priority() int {
	switch {
	case c.check.Last:
		return -100
	case c.kind == Chaos:
		return 0
	}
	return map[Manner]int{Reads: 400, Beside: 300, Disturbs: 200, Apart: 100}[c.check.Manner]
}

// yields tells whether checks of a manner must have ended before this one begins.
func (c registered) yields(to Manner) bool {
	switch to {
	case c.check.Manner:
		return false
	case Apart:
		return c.kind == Chaos || c.check.Last
	default:
		return c.check.Manner != Apart
	}
}
