package bootstrap

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/vault/api"
	"github.com/onsi/ginkgo/v2"

	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/target"
)

// provisionerName is the token's only policy, and the role that it is made by.
const provisionerName = "provisioner"

// rolePath is the role by which the token is replaced without root.
const rolePath = "auth/token/roles/" + provisionerName

var boot11 = conformance.Check{
	ID: "BOOT-11", Area: area, Level: conformance.Must, Manner: conformance.Reads,
	Assertion: "the provisioner token is an orphan, periodic and renewable, has the policy provisioner alone, and outlives the initial root token",
	Source:    "terraform-provider-vault#722, #922; hashicorp/vault#1526",
	Observe:   "auth/token/lookup-self with the token in custody, at a time when no root token in custody is accepted any more",
}

var _ = conformance.It(boot11, conformance.Conformance, func(ctx ginkgo.SpecContext, r *conformance.Case) error {
	client, done, err := activeClient(ctx, r.Target)
	if err != nil {
		return r.CannotTell(err)
	}
	defer done()
	token, err := provisionerToken(ctx, r.Target, client)
	if errors.Is(err, errTokenRefused) {
		return fmt.Errorf("%w, want it alive (terraform-provider-vault#722)", err)
	}
	if err != nil {
		return r.CannotTell(err)
	}
	r.Measure("period_s", token.period.Seconds())
	if err := fitForProvisioning(token); err != nil {
		return err
	}
	// Last: whoever keeps the root token still learns what is wrong above.
	versions, err := rootVersions(ctx, r.Target, client)
	if err != nil {
		return r.CannotTell(err)
	}
	for _, v := range versions {
		if v.alive {
			return r.Inconclusive("the root token in version %s of secret %s-%s was not revoked, so that nobody saw the provisioner token outlive it", v.version, r.Target.CustodyPrefix, target.RootTokenSecret)
		}
	}
	return nil
})

// tokenFields is what Vault says of a token.
type tokenFields struct {
	kind              string // service or batch
	orphan, renewable bool
	policies          []string
	role              string
	ttl, period       time.Duration
	explicitMax       time.Duration // when it ends whatever is renewed; 0 for never
	numUses           time.Duration // a count, in seconds; 0 for no limit
	created, renewed  time.Time     // renewed is zero if it never was
}

// provisionerToken asks Vault about the token in custody. The period of a token
// that was made by a role may be told by the role alone.
func provisionerToken(ctx context.Context, t *target.Target, client *api.Client) (tokenFields, error) {
	data, err := provisionerFields(ctx, t, client)
	if err != nil {
		return tokenFields{}, err
	}
	token, err := parseToken(data)
	if err != nil {
		return tokenFields{}, err
	}
	if token.period == 0 && token.role != "" {
		role, err := readPrivileged(ctx, t, "auth/token/roles/"+token.role)
		if err != nil {
			return tokenFields{}, err
		}
		if token.period, err = seconds(role["token_period"]); err != nil {
			return tokenFields{}, fmt.Errorf("reading the period of the token role %s: %w", token.role, err)
		}
	}
	return token, nil
}

// parseToken reads the answer of auth/token/lookup-self.
func parseToken(data map[string]any) (tokenFields, error) {
	token := tokenFields{policies: append(texts(data["policies"]), texts(data["identity_policies"])...)}
	token.kind, _ = data["type"].(string)
	token.orphan, _ = data["orphan"].(bool)
	token.renewable, _ = data["renewable"].(bool)
	token.role, _ = data["role"].(string)
	var created, renewed time.Duration
	for name, into := range map[string]*time.Duration{
		"ttl": &token.ttl, "period": &token.period, "explicit_max_ttl": &token.explicitMax, "num_uses": &token.numUses,
		"creation_time": &created, "last_renewal_time": &renewed,
	} {
		var err error
		if *into, err = seconds(data[name]); err != nil {
			return tokenFields{}, fmt.Errorf("reading %s in the answer of auth/token/lookup-self: %w", name, err)
		}
	}
	token.created = time.Unix(int64(created.Seconds()), 0).UTC()
	if renewed > 0 {
		token.renewed = time.Unix(int64(renewed.Seconds()), 0).UTC()
	}
	return token, nil
}

// seconds reads a number of seconds out of an answer of Vault; an absent one
// is 0.
func seconds(v any) (time.Duration, error) {
	switch n := v.(type) {
	case nil:
		return 0, nil
	case json.Number:
		s, err := n.Int64()
		if err != nil {
			return 0, fmt.Errorf("%q is no whole number", n)
		}
		return time.Duration(s) * time.Second, nil
	}
	return 0, fmt.Errorf("it is %T, not a number", v)
}

// fitForProvisioning judges the provisioner token.
func fitForProvisioning(t tokenFields) error {
	const name = "the provisioner token in custody"
	others := slices.DeleteFunc(slices.Clone(t.policies), func(p string) bool { return p == provisionerName || p == "default" })
	switch {
	case !t.orphan:
		return fmt.Errorf("%s has orphan=false, want true: it dies with its parent, the root token (terraform-provider-vault#722)", name)
	case t.kind != "service":
		return fmt.Errorf("%s is of type %q, want service: another kind cannot be renewed", name, t.kind)
	case t.period <= 0:
		return fmt.Errorf("%s has no period, want one: its life ends at the mount's max_lease_ttl (hashicorp/vault#1526)", name)
	case !t.renewable:
		return fmt.Errorf("%s has renewable=false, want true", name)
	case t.explicitMax > 0:
		return fmt.Errorf("%s has explicit_max_ttl %s, want none: it ends then, however often it is renewed", name, t.explicitMax)
	case t.numUses > 0:
		return fmt.Errorf("%s has num_uses %d, want no limit", name, int(t.numUses.Seconds()))
	case !slices.Contains(t.policies, provisionerName) || len(others) > 0:
		return fmt.Errorf("%s has the policies %v, want [%s] and at most default besides", name, t.policies, provisionerName)
	}
	return nil
}
