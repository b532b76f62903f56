package terraform

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
)

// exclusive are the types of resource that Vault refuses to make twice. If Vault made one
// and died before it answered, the state does not know it, and every later apply fails on it
// ("path is already in use"). All other writes can be repeated.
var exclusive = []string{"vault_mount", "vault_auth_backend"}

// absent is what both tools say of what they should import and Vault does not have.
const absent = "non-existent remote object"

// takeOver brings into the state what an apply that was cut short has made: whatever is at
// the paths that the module still wants to make. Without such an apply it does nothing, so
// that what somebody else made there fails the apply, and is told.
func (w *Workspace) takeOver(ctx context.Context, c command) error {
	if _, err := os.Stat(w.path(pendingFile)); errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return fmt.Errorf("looking whether an earlier apply was cut short: %w", err)
	}
	changes, err := c.plan(ctx)
	if err != nil {
		return fmt.Errorf("looking for what an earlier apply has left: %w", err)
	}
	for _, change := range changes {
		if !slices.Contains(exclusive, change.kind) || !slices.Equal(change.Actions, []string{"create"}) || change.path == "" {
			continue
		}
		if err := c.Import(ctx, change.Address, change.path); err != nil && !strings.Contains(strings.Join(strings.Fields(err.Error()), " "), absent) {
			return fmt.Errorf("taking over %s, which an earlier apply may have made at %s: %w", change.Address, change.path, err)
		}
	}
	return nil
}
