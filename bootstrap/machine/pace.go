package machine

import "time"

// Pace is how soon a row wants the next turn.
type Pace int

// The paces.
const (
	// Now: at once if the step succeeded; after a failure with back-off from
	// 100 ms to 5 s.
	Now Pace = iota
	// Fast: something is about to happen that is worth seeing at once, and no
	// healthy Vault is asked. From 25 ms, backing off to 200 ms in 18 s.
	Fast
	// Watch: a healthy Vault, looked at three times a second. That finds a
	// seal soon and costs some 0.1 % of a core.
	Watch
	// Slow: only an admin can help. From 250 ms backing off to 2 s.
	Slow
)

// wait gives the pause before the next turn; turns counts those before it that
// were of the same row, and failed tells how this one ended.
func (p Pace) wait(turns int, failed bool) time.Duration {
	switch p {
	case Fast:
		return grow(25*time.Millisecond, 200*time.Millisecond, turns/100)
	case Watch:
		return 300 * time.Millisecond
	case Slow:
		return grow(250*time.Millisecond, 2*time.Second, turns)
	}
	switch {
	case !failed && turns == 0:
		return 0
	case !failed: // the step changed nothing: never spin
		return 50 * time.Millisecond
	}
	return grow(100*time.Millisecond, 5*time.Second, turns)
}

// grow doubles from base, times times, up to limit.
func grow(base, limit time.Duration, times int) time.Duration {
	for ; times > 0 && base < limit; times-- {
		base *= 2
	}
	return min(base, limit)
}
