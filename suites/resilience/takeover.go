package resilience

import "fmt"

// tookOver judges whether another pod took over from the one that was hit. A
// Vault that only came back on the same pod was no highly available one.
func tookOver(res result) error {
	if res.phases.Elected == nil {
		return fmt.Errorf("no pod became active after %s (%s of %s), want a standby to take over from %s", res.id, res.kind, res.target, res.active)
	}
	return nil
}
