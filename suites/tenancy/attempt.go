package tenancy

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/vaultproof/vaultproof/pkg/tenancy"
)

// patience is how long a tenant waits for a login.
const patience = 5 * time.Second

// attempt is one login to try.
type attempt struct {
	what        string // is shown, for messages
	mount, role string
	jwt         string
}

// outcome is what came of it.
type outcome struct {
	attempt
	began time.Time
	took  time.Duration
	auth  *api.SecretAuth // nil if there was none
	err   error
}

// status is the HTTP status of the answer; 0 if there was none.
func (o outcome) status() int { return tenancy.Status(o.err) }

// try logs in through the door, and waits for that as long as a tenant does.
func (e *Env) try(ctx context.Context, a attempt) outcome {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	o := outcome{attempt: a, began: time.Now()}
	o.auth, o.err = tenancy.Login(ctx, e.Door, a.mount, a.role, a.jwt)
	o.took = time.Since(o.began)
	return o
}

// tryOnce is try, and gives back the token that it may have got.
func (e *Env) tryOnce(ctx context.Context, a attempt) (outcome, error) {
	o := e.try(ctx, a)
	if o.auth == nil {
		return o, nil
	}
	return o, e.giveBack(ctx, o.auth)
}

// giveBack revokes a token of Vault.
func (e *Env) giveBack(ctx context.Context, auth *api.SecretAuth) error {
	client, err := e.Door.Client(auth.ClientToken)
	if err != nil {
		return err
	}
	_, err = client.Logical().WriteWithContext(ctx, "auth/token/revoke-self", nil)
	if tenancy.Status(err) == http.StatusForbidden {
		return nil // its policies do not let it; it ends with its mount
	}
	if err != nil {
		return fmt.Errorf("revoking a token of this check: %w", err)
	}
	return nil
}

// refused judges attempts that must fail: Vault said no to each of them.
func refused(outcomes []outcome) error {
	var wrong []string
	for _, o := range outcomes {
		if o.status() == http.StatusForbidden {
			continue
		}
		got := fmt.Sprintf("got status %d (%v)", o.status(), o.err)
		if o.auth != nil {
			got = fmt.Sprintf("got a token with the policies %v", o.auth.Policies)
		}
		wrong = append(wrong, fmt.Sprintf("%s %s at auth/%s with role %s at %s", o.what, got, o.mount, o.role, o.began.UTC().Format(time.RFC3339)))
	}
	if len(wrong) == 0 {
		return nil
	}
	return fmt.Errorf("want status 403 for each of these logins: %s", strings.Join(wrong, "; "))
}

// silent finds the attempts that Vault did not answer at all: those say nothing of who may
// log in.
func silent(outcomes []outcome) error {
	for _, o := range outcomes {
		if o.status() == 0 {
			return fmt.Errorf("Vault did not answer when %s was tried at auth/%s: %w", o.what, o.mount, o.err)
		}
	}
	return nil
}

// admitted judges an attempt that must succeed, with the one policy of its role.
func admitted(o outcome, policy string) error {
	switch {
	case o.err != nil:
		return fmt.Errorf("%s is kept out (status %d), want a token: %w", o.what, o.status(), o.err)
	case o.auth == nil:
		return errors.New(o.what + " got no token")
	case len(o.auth.Policies) != 1 || o.auth.Policies[0] != policy:
		return fmt.Errorf("%s got a token with the policies %v at auth/%s, want %s alone", o.what, o.auth.Policies, o.mount, policy)
	case o.auth.LeaseDuration <= 0:
		return fmt.Errorf("%s got a token at auth/%s that never ends, want one that does", o.what, o.mount)
	}
	return nil
}
