package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/vault/api"
	"github.com/onsi/ginkgo/v2"

	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/target"
)

var boot08 = conformance.Check{
	ID: "BOOT-08", Area: area, Level: conformance.Must,
	Assertion: "no live token carries the policy root",
	Source:    `Vault production hardening, "Avoid root tokens"`,
	Observe:   "LIST auth/token/accessors and auth/token/lookup-accessor of each, with a root token made from the shares for this and revoked after; it must see itself in the list",
}

var _ = conformance.It(boot08, conformance.Conformance, func(ctx ginkgo.SpecContext, r *conformance.Case) error {
	var tokens []liveToken
	var own string
	err := r.Target.WithRoot(ctx, func(ctx context.Context, root *api.Client) (err error) {
		tokens, own, err = liveTokens(ctx, root)
		return err
	})
	if errors.Is(err, target.ErrNoPrivilege) {
		return r.Skip("the tokens of this Vault cannot be listed: %v", err)
	}
	if err != nil {
		return r.CannotTell(err)
	}
	r.Measure("tokens_total", float64(len(tokens)))
	err = noRootToken(tokens, own)
	if errors.Is(err, errBlind) {
		return r.CannotTell(err)
	}
	return err
})

// liveToken is what Vault says of a token by its accessor.
type liveToken struct {
	accessor, display, path string
	policies                []string
	created                 time.Time
}

// liveTokens lists all tokens with an accessor, and tells which one is the
// client's own. Those that end meanwhile are left out.
func liveTokens(ctx context.Context, root *api.Client) (tokens []liveToken, own string, err error) {
	self, err := root.Auth().Token().LookupSelfWithContext(ctx)
	if err != nil {
		return nil, "", fmt.Errorf("looking up the root token that was made for this: %w", err)
	}
	if own, err = self.TokenAccessor(); err != nil {
		return nil, "", fmt.Errorf("reading the accessor of the root token that was made for this: %w", err)
	}
	list, err := root.Logical().ListWithContext(ctx, "auth/token/accessors")
	if err != nil {
		return nil, "", fmt.Errorf("listing auth/token/accessors: %w", err)
	}
	if list == nil {
		return nil, own, nil
	}
	for _, accessor := range texts(list.Data["keys"]) {
		secret, err := root.Auth().Token().LookupAccessorWithContext(ctx, accessor)
		var answer *api.ResponseError
		if errors.As(err, &answer) && (answer.StatusCode == http.StatusBadRequest || answer.StatusCode == http.StatusForbidden || answer.StatusCode == http.StatusNotFound) {
			continue // Vault's ways to say that there is no such token any more
		}
		if err != nil {
			return nil, "", fmt.Errorf("looking up a token by its accessor: %w", err)
		}
		if secret == nil {
			continue
		}
		tokens = append(tokens, parseLiveToken(accessor, secret.Data))
	}
	return tokens, own, nil
}

// parseLiveToken reads the answer of auth/token/lookup-accessor.
func parseLiveToken(accessor string, data map[string]any) liveToken {
	token := liveToken{accessor: accessor, policies: append(texts(data["policies"]), texts(data["identity_policies"])...)}
	token.display, _ = data["display_name"].(string)
	token.path, _ = data["path"].(string)
	if at, err := seconds(data["creation_time"]); err == nil && at > 0 {
		token.created = time.Unix(int64(at.Seconds()), 0).UTC()
	}
	return token
}

// noRootToken judges the tokens of a Vault. The one that looked has to be among
// them with the policy root, or the list proves nothing: errBlind.
func noRootToken(tokens []liveToken, own string) error {
	var found []string
	seen := false
	for _, t := range tokens {
		switch {
		case !slices.Contains(t.policies, "root"):
		case t.accessor == own:
			seen = true
		default:
			found = append(found, fmt.Sprintf("%q with accessor %s, made at %s by %s", t.display, t.accessor, t.created.Format(time.RFC3339), t.path))
		}
	}
	switch {
	case len(found) > 0:
		return fmt.Errorf("%d of %d live tokens carry the policy root (%s), want none beside the one that looked: revoke them by their accessors (production hardening, \"Avoid root tokens\")",
			len(found), len(tokens), strings.Join(found, "; "))
	case own == "" || !seen:
		return fmt.Errorf("%w: the root token that listed the %d tokens is not among them with its policy root", errBlind, len(tokens))
	}
	return nil
}
