package vault

import (
	"context"
	"fmt"
)

// Health is what the pod's own sys/health says, as far as labels tell it.
type Health struct {
	Initialised, Sealed bool
	Active, PerfStandby bool // neither: a standby, or not open at all
	Version             string
}

// Health asks the pod itself how it is. While Vault becomes active or joins
// raft, it holds the answer back.
func (c *Client) Health(ctx context.Context) (Health, error) {
	ctx, cancel := context.WithTimeout(ctx, pollTimeout)
	defer cancel()
	h, err := c.api.Sys().HealthWithContext(ctx)
	if err != nil {
		return Health{}, fmt.Errorf("asking Vault for its health: %w", err)
	}
	open := h.Initialized && !h.Sealed && (h.RemovedFromCluster == nil || !*h.RemovedFromCluster)
	return Health{Initialised: h.Initialized, Sealed: h.Sealed, Active: open && !h.Standby && !h.PerformanceStandby,
		PerfStandby: h.PerformanceStandby, Version: h.Version}, nil
}
