// Package ceremony makes a root token out of shares of the seal, through
// sys/generate-root, as an operator would with "vault operator generate-root".
//
// Up to Vault 1.21 anybody may begin such an attempt; from 2.0 on it takes a
// token. In both it takes the threshold of shares to bring it to its end. Vault
// runs one attempt at a time: one that somebody else began is left alone, and
// one of ours that fails is cancelled, by its nonce.
//
// The answer that hands out the one-time pad and the answer with the encoded
// token make the root token together, so neither ever leaves this package, and
// what was read of them is overwritten.
package ceremony

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/hashicorp/vault/api"
)

const (
	// callTimeout bounds one call; Vault answers in milliseconds.
	callTimeout = 10 * time.Second
	// cleanTimeout bounds what is undone after a failure, an ended context included.
	cleanTimeout = 5 * time.Second
)

// Kinds of failure, for errors.Is.
var (
	// ErrBusy: an attempt that we did not begin is in progress.
	ErrBusy = errors.New("an attempt to make a root token is already in progress")
	// ErrDenied: Vault refuses to begin, for lack of a token that may do so.
	ErrDenied = errors.New("Vault refuses to begin making a root token")
	// ErrShares: the shares could not be had, or are not those of this Vault.
	ErrShares = errors.New("the shares do not make a root token")
)

// Shares gives n different shares of the seal, as Vault handed them out. The
// ceremony overwrites them when it is done with them.
type Shares func(ctx context.Context, n int) ([][]byte, error)

// Root makes a new root token on the Vault that client speaks to, which should
// be the active one, so that no share travels further than to it. token may be
// nil up to Vault 1.21; later it must be one whose policy allows update on
// sys/generate-root/attempt and sys/generate-root/update. The client's own token
// is not used. The root token does not expire: whoever calls Root revokes it.
func Root(ctx context.Context, client *api.Client, shares Shares, token []byte) (root []byte, err error) {
	c, err := newCaller(client, token)
	if err != nil {
		return nil, err
	}
	begun, err := c.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer begun.wipe()
	defer func() {
		if err != nil {
			err = errors.Join(err, c.cancel(ctx, begun.Nonce))
		}
	}()
	done, err := c.submit(ctx, begun, shares)
	if err != nil {
		return nil, err
	}
	defer done.wipe()
	if root, err = decode(done.encoded(), begun.OTP); err != nil {
		return nil, err
	}
	if err := c.check(ctx, root); err != nil {
		clear(root)
		return nil, err
	}
	return root, nil
}

// begin starts an attempt, unless there is one.
func (c *caller) begin(ctx context.Context) (*attempt, error) {
	now, err := c.attempt(ctx, http.MethodGet, attemptPath, nil)
	if err != nil {
		return nil, fmt.Errorf("asking Vault whether a root token is being made: %w", refused(err))
	}
	defer now.wipe()
	if now.Started {
		return nil, fmt.Errorf("%w: it has %d of %d shares and was not begun here, so it is left alone; finish it, or end it with "+
			"\"vault operator generate-root -cancel\"", ErrBusy, now.Progress, now.Required)
	}
	begun, err := c.attempt(ctx, http.MethodPut, attemptPath, []byte(`{}`))
	if answered(err, http.StatusBadRequest) { // between the two calls
		return nil, fmt.Errorf("%w: Vault says: %w", ErrBusy, err)
	} else if err != nil {
		return nil, fmt.Errorf("beginning to make a root token: %w", refused(err))
	}
	if begun.Nonce == "" || len(begun.OTP) == 0 || begun.Required < 1 {
		begun.wipe()
		return nil, errors.New("beginning to make a root token: Vault's answer holds no nonce, no one-time pad or no threshold")
	}
	return begun, nil
}

// submit gives Vault as many shares as it wants.
func (c *caller) submit(ctx context.Context, begun *attempt, source Shares) (*attempt, error) {
	shares, err := source(ctx, begun.Required)
	defer func() {
		for _, s := range shares {
			clear(s)
		}
	}()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrShares, err)
	}
	for _, share := range shares {
		now, err := c.share(ctx, share, begun.Nonce)
		if answered(err, http.StatusBadRequest) {
			return nil, fmt.Errorf("%w: Vault does not take them: %w", ErrShares, err)
		} else if err != nil {
			return nil, fmt.Errorf("submitting a share: %w", err)
		}
		if now.Complete {
			return now, nil
		}
		now.wipe()
	}
	return nil, fmt.Errorf("%w: Vault took %d of them and wants more", ErrShares, len(shares))
}

// cancel ends the attempt of this nonce, if it is still there. Vault's own call
// ends whatever attempt there is, hence the look before it.
func (c *caller) cancel(ctx context.Context, nonce string) error {
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), cleanTimeout)
	defer stop()
	now, err := c.attempt(ctx, http.MethodGet, attemptPath, nil)
	if err == nil {
		defer now.wipe()
		if !now.Started || now.Nonce != nonce {
			return nil
		}
		err = c.call(ctx, http.MethodDelete, attemptPath, nil, nil)
	}
	if err != nil {
		return fmt.Errorf("the attempt that was begun could not be cancelled; end it with \"vault operator generate-root -cancel\": %w", err)
	}
	return nil
}

// check makes sure that what was decoded is a root token, because a wrong pad
// decodes to something just as well.
func (c *caller) check(ctx context.Context, root []byte) error {
	as, err := newCaller(c.client, root)
	if err != nil {
		return err
	}
	var self struct {
		Data struct {
			Policies []string `json:"policies"`
		} `json:"data"`
	}
	if err := as.call(ctx, http.MethodGet, "/v1/auth/token/lookup-self", nil, &self); err != nil {
		return fmt.Errorf("looking up the root token that was made: %w", err)
	}
	if len(self.Data.Policies) != 1 || self.Data.Policies[0] != "root" {
		return fmt.Errorf("the token that was made has the policies %q, not root alone", self.Data.Policies)
	}
	return nil
}

// Revoke ends the root token that client speaks with, and makes sure of it. One
// that is dead already is no error.
func Revoke(ctx context.Context, client *api.Client) error {
	tokens := client.Auth().Token()
	if err := tokens.RevokeSelfWithContext(ctx, ""); err != nil && !answered(err, http.StatusForbidden) {
		return fmt.Errorf("revoking the root token: %w", err)
	}
	switch _, err := tokens.LookupSelfWithContext(ctx); {
	case err == nil:
		return errors.New("the root token is still alive after Vault revoked it")
	case !answered(err, http.StatusForbidden):
		return fmt.Errorf("making sure that the root token is dead: %w", err)
	}
	return nil
}

// decode takes the pad off the token: base64 without padding, then XOR.
func decode(encoded, pad []byte) ([]byte, error) {
	out := make([]byte, base64.RawStdEncoding.DecodedLen(len(encoded)))
	n, err := base64.RawStdEncoding.Decode(out, trimPadding(encoded))
	if err != nil {
		clear(out)
		return nil, errors.New("the encoded root token in Vault's answer is not base64")
	}
	out = out[:n]
	if n == 0 || n != len(pad) {
		clear(out)
		return nil, fmt.Errorf("the encoded root token in Vault's answer has %d bytes and the one-time pad %d: one cannot be taken off the other", n, len(pad))
	}
	for i := range out {
		out[i] ^= pad[i]
	}
	return out, nil
}

func trimPadding(b []byte) []byte {
	for len(b) > 0 && b[len(b)-1] == '=' {
		b = b[:len(b)-1]
	}
	return b
}

// refused marks an error that a (better) token would mend.
func refused(err error) error {
	if answered(err, http.StatusForbidden) || answered(err, http.StatusUnauthorized) {
		return fmt.Errorf("%w (from 2.0 on it takes a token that may update sys/generate-root/*): %w", ErrDenied, err)
	}
	return err
}
