package ceremony

import (
	"context"
	"errors"
	"fmt"

	"github.com/vaultproof/vaultproof/pkg/custody"
)

// Custody reads shares from where the bootstrap sidecar keeps them.
type Custody struct {
	Store interface {
		Read(ctx context.Context, id string) (custody.Secret, error)
	}
	// Secrets are the names of those that hold a share each.
	Secrets []string
}

// Shares implements [Shares]: the first n that can be read. Its error names
// each secret that could not.
func (c Custody) Shares(ctx context.Context, n int) ([][]byte, error) {
	var shares [][]byte
	var failed []error
	for _, id := range c.Secrets {
		if len(shares) == n {
			break
		}
		one, err := c.read(ctx, id)
		if err != nil {
			failed = append(failed, fmt.Errorf("secret %s: %w", id, err))
			continue
		}
		shares = append(shares, one)
	}
	if len(shares) < n {
		return shares, fmt.Errorf("custody gives %d of the %d shares that are needed, out of %d secrets: %w",
			len(shares), n, len(c.Secrets), errors.Join(failed...))
	}
	return shares, nil
}

func (c Custody) read(ctx context.Context, id string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	s, err := c.Store.Read(ctx, id)
	return s.Payload, err
}
