package terraform

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// Apply makes Vault what the module says. If an earlier Apply of this workspace was cut
// short, what that made and could not note down is taken over first.
func (w *Workspace) Apply(ctx context.Context) error {
	return w.run(ctx, "terraform apply", func(c command) error {
		if err := w.takeOver(ctx, c); err != nil {
			return err
		}
		if err := os.WriteFile(w.path(pendingFile), nil, 0o600); err != nil {
			return fmt.Errorf("noting that an apply has begun: %w", err)
		}
		if err := c.Apply(ctx); err != nil {
			return err
		}
		return w.settled()
	})
}

// Destroy takes away what the module made.
func (w *Workspace) Destroy(ctx context.Context) error {
	return w.run(ctx, "terraform destroy", func(c command) error {
		if err := w.takeOver(ctx, c); err != nil {
			return err
		}
		if err := c.Destroy(ctx); err != nil {
			return err
		}
		return w.settled()
	})
}

// settled notes that nothing is half-done any more.
func (w *Workspace) settled() error {
	if err := os.Remove(w.path(pendingFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("noting that an apply has ended: %w", err)
	}
	return nil
}

// Output is what the module tells, by name, as JSON.
func (w *Workspace) Output(ctx context.Context) (map[string]json.RawMessage, error) {
	values := map[string]json.RawMessage{}
	err := w.run(ctx, "terraform output", func(c command) error {
		told, err := c.Output(ctx)
		for name, one := range told {
			values[name] = one.Value
		}
		return err
	})
	return values, err
}

// Versions are those of the tool and of its providers by address, for reports.
func (w *Workspace) Versions(ctx context.Context) (tool string, providers map[string]string, err error) {
	providers = map[string]string{}
	err = w.run(ctx, "terraform version", func(c command) error {
		own, others, err := c.Version(ctx, true)
		if err != nil {
			return err
		}
		tool = own.String()
		for address, version := range others {
			providers[address] = version.String()
		}
		return nil
	})
	return tool, providers, err
}
