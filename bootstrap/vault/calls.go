package vault

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/hashicorp/vault/api"
)

// Seal is what sys/seal-status says, as far as the sidecar uses it.
type Seal struct {
	Initialised, Sealed bool
	// Removed: the node was removed from its raft cluster and cannot be unsealed.
	Removed bool
	// Threshold and Progress of the unseal in hand; Nonce names that attempt.
	Threshold, Progress int
	Nonce               string
}

// Keys is the one answer of sys/init. It is the only copy until custody has it.
type Keys struct {
	Shares [][]byte // base64, as Vault returned them
	Root   []byte
}

// Wipe overwrites the keys in memory.
func (k *Keys) Wipe() {
	for _, s := range k.Shares {
		clear(s)
	}
	clear(k.Root)
	k.Shares, k.Root = nil, nil
}

// SealStatus asks whether Vault is initialised and sealed.
func (c *Client) SealStatus(ctx context.Context) (Seal, error) {
	ctx, cancel := context.WithTimeout(ctx, pollTimeout)
	defer cancel()
	s, err := c.api.Sys().SealStatusWithContext(ctx)
	if err != nil {
		return Seal{}, fmt.Errorf("asking Vault for its seal status: %w", err)
	}
	return sealOf(s), nil
}

func sealOf(s *api.SealStatusResponse) Seal {
	return Seal{
		Initialised: s.Initialized,
		Sealed:      s.Sealed,
		Removed:     s.RemovedFromCluster != nil && *s.RemovedFromCluster,
		Threshold:   s.T,
		Progress:    s.Progress,
		Nonce:       s.Nonce,
	}
}

// Leader is what the pod's own sys/leader says.
type Leader struct {
	Self    bool
	Address string // of the active Vault's API; empty while there is none
}

// Leader asks the pod itself who is active. A sealed Vault does not say.
func (c *Client) Leader(ctx context.Context) (Leader, error) {
	ctx, cancel := context.WithTimeout(ctx, pollTimeout)
	defer cancel()
	l, err := c.api.Sys().LeaderWithContext(ctx)
	if err != nil {
		return Leader{}, fmt.Errorf("asking Vault who is active: %w", err)
	}
	return Leader{Self: l.IsSelf, Address: l.LeaderAddress}, nil
}

// Active asks the pod itself whether it is the active one.
func (c *Client) Active(ctx context.Context) (bool, error) {
	l, err := c.Leader(ctx)
	return l.Self, err
}

// StepDown tells Vault to give its leadership up. It returns before Vault has
// done so, and does nothing on a standby.
func (c *Client) StepDown(ctx context.Context, token []byte) error {
	client, err := c.As(token)
	if err != nil {
		return err
	}
	if err := client.Sys().StepDownWithContext(ctx); err != nil {
		return fmt.Errorf("telling Vault to step down: %w", err)
	}
	return nil
}

// Init initialises Vault. It is never cut short by the sidecar being told to
// stop: once Vault has the request, its answer is the only copy of the keys.
func (c *Client) Init(ctx context.Context, shares, threshold int) (*Keys, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), initTimeout)
	defer cancel()
	r, err := c.api.Sys().InitWithContext(ctx, &api.InitRequest{SecretShares: shares, SecretThreshold: threshold})
	if err != nil {
		return nil, fmt.Errorf("initialising Vault: %w", err)
	}
	if len(r.KeysB64) != shares || r.RootToken == "" {
		return nil, fmt.Errorf("initialising Vault: asked for %d shares and a root token, got %d shares (root token: %t)",
			shares, len(r.KeysB64), r.RootToken != "")
	}
	keys := &Keys{Root: []byte(r.RootToken)}
	for _, k := range r.KeysB64 {
		keys.Shares = append(keys.Shares, []byte(k))
	}
	return keys, nil
}

// ResetUnseal throws away the shares that Vault collected so far.
func (c *Client) ResetUnseal(ctx context.Context) (Seal, error) {
	return c.unseal(ctx, []byte(`{"reset":true}`), "resetting the unseal attempt")
}

// Submit gives Vault one share (base64). On a pod that is joining raft the last
// share returns only when the join is through, hence the longer timeout.
func (c *Client) Submit(ctx context.Context, share []byte) (Seal, error) {
	quoted, err := json.Marshal(string(share))
	if err != nil {
		return Seal{}, fmt.Errorf("encoding a share: %w", err)
	}
	body := append(append([]byte(`{"key":`), quoted...), '}')
	defer clear(body)
	defer clear(quoted)
	return c.unseal(ctx, body, "submitting a share")
}

func (c *Client) unseal(ctx context.Context, body []byte, doing string) (Seal, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	req := c.api.NewRequest(http.MethodPut, "/v1/sys/unseal")
	req.BodyBytes = body
	//lint:ignore SA1019 the typed call keeps the share in a string, which cannot be wiped
	resp, err := c.api.RawRequestWithContext(ctx, req)
	if err != nil {
		return Seal{}, fmt.Errorf("%s: %w", doing, err)
	}
	defer resp.Body.Close()
	var s api.SealStatusResponse
	if err := resp.DecodeJSON(&s); err != nil {
		return Seal{}, fmt.Errorf("%s: reading Vault's answer: %w", doing, err)
	}
	return sealOf(&s), nil
}
