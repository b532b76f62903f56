package conformance

import "time"

// Lateness is the longest time by which the load itself was late to start an operation from
// one instant to another. It is not Vault's doing: the machine had no time for the prober.
func (t *Traffic) Lateness(from, to time.Time) time.Duration { return t.prober.Lateness(from, to) }
