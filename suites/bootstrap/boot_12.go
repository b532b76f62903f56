package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/vault/api"
	"github.com/onsi/ginkgo/v2"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/custody"
	"github.com/vaultproof/vaultproof/pkg/target"
)

// rotationTimeout is how long two versions of the token may be readable: the
// new one is read back and looked up before the old one is disabled.
const rotationTimeout = 15 * time.Second

var boot12 = conformance.Check{
	ID: "BOOT-12", Area: area, Level: conformance.Must, Manner: conformance.Reads,
	Assertion: "the provisioner token never has less than a third of its period to live, and is replaced in custody without root, the old version disabled",
	Source:    "hashicorp/vault#2134 (max_lease_ttl caps tokens that are not periodic)",
	Observe: "ttl, period and last renewal of the token in custody; the token role that replaces it, and whether the token may use it; how many of its versions can be read. " +
		"Renewal and replacement over many periods take longer than a look: the sidecar's own soak with a period of a minute has them",
}

var _ = conformance.It(boot12, conformance.Conformance, func(ctx ginkgo.SpecContext, r *conformance.Case) error {
	client, done, err := activeClient(ctx, r.Target)
	if err != nil {
		return r.CannotTell(err)
	}
	defer done()
	token, err := provisionerToken(ctx, r.Target, client)
	if errors.Is(err, errTokenRefused) {
		return fmt.Errorf("%w, want it renewed before it ends (hashicorp/vault#2134)", err)
	}
	if err != nil {
		return r.CannotTell(err)
	}
	r.Measure("ttl_s", token.ttl.Seconds())
	r.Measure("period_s", token.period.Seconds())
	r.Measure("age_s", time.Since(token.created).Round(time.Second).Seconds())
	if err := renewedInTime(token); err != nil {
		return err
	}
	if err := judgeReplacement(ctx, r, client); err != nil {
		return err
	}
	name := r.Target.CustodyPrefix + "-" + target.ProvisionerTokenSecret
	versions, err := settledVersions(ctx, r.Target.Custody, name)
	if err != nil {
		return r.CannotTell(err)
	}
	r.Measure("versions_total", float64(len(versions)))
	return newestAlone(name, versions)
})

// renewedInTime judges how long the token still lives. The sidecar renews it
// when a third of its period is used up, which leaves a third to be late in.
func renewedInTime(t tokenFields) error {
	if t.period <= 0 {
		return errors.New("the provisioner token has no period, so no renewal keeps it alive beyond max_lease_ttl (hashicorp/vault#2134)")
	}
	if t.ttl >= t.period/3 {
		return nil
	}
	last := "was never renewed"
	if !t.renewed.IsZero() {
		last = "was last renewed at " + t.renewed.Format(time.RFC3339)
	}
	return fmt.Errorf("the provisioner token has %s to live, want at least %s, a third of its period of %s; it was made at %s and %s (hashicorp/vault#2134)",
		t.ttl, t.period/3, t.period, t.created.Format(time.RFC3339), last)
}

// judgeReplacement looks at what lets the token be replaced without root.
func judgeReplacement(ctx context.Context, r *conformance.Case, client *api.Client) error {
	data, err := readPrivileged(ctx, r.Target, rolePath)
	switch {
	case errors.Is(err, errNothing):
		return fmt.Errorf("there is no %s, want it: without it the provisioner token cannot be replaced once the root token is gone", rolePath)
	case errors.Is(err, target.ErrNoPrivilege):
		return r.Skip("%v", err)
	case err != nil:
		return r.CannotTell(err)
	}
	role, err := parseRole(data)
	if err != nil {
		return r.CannotTell(err)
	}
	if err := replacesAlike(role); err != nil {
		return err
	}
	have, err := provisionerCapabilities(ctx, r.Target, client, createPath)
	if err != nil {
		return r.CannotTell(err)
	}
	return mayReplace(have)
}

// createPath makes a token by the role.
const createPath = "auth/token/create/" + provisionerName

func provisionerCapabilities(ctx context.Context, t *target.Target, client *api.Client, path string) ([]string, error) {
	token, err := t.Secret(ctx, target.ProvisionerTokenSecret)
	if err != nil {
		return nil, err
	}
	defer clear(token)
	client.SetToken(strings.TrimSpace(string(token)))
	defer client.ClearToken()
	have, err := client.Sys().CapabilitiesSelfWithContext(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("asking what the provisioner token may do at %s: %w", path, err)
	}
	return have, nil
}

// mayReplace judges what the provisioner token may do at createPath.
func mayReplace(capabilities []string) error {
	if slices.Contains(capabilities, "update") || slices.Contains(capabilities, "root") {
		return nil
	}
	return fmt.Errorf("the provisioner token has the capabilities %v on %s, want update: it cannot make its own replacement", capabilities, createPath)
}

// tokenRole is what a token role makes.
type tokenRole struct {
	orphan, renewable, noDefault bool
	policies, globs              []string
	period, explicitMax          time.Duration
}

// parseRole reads the answer of auth/token/roles/<name>.
func parseRole(data map[string]any) (tokenRole, error) {
	role := tokenRole{policies: texts(data["allowed_policies"]), globs: texts(data["allowed_policies_glob"])}
	role.orphan, _ = data["orphan"].(bool)
	role.renewable, _ = data["renewable"].(bool)
	role.noDefault, _ = data["token_no_default_policy"].(bool)
	for name, into := range map[string]*time.Duration{"token_period": &role.period, "token_explicit_max_ttl": &role.explicitMax} {
		var err error
		if *into, err = seconds(data[name]); err != nil {
			return tokenRole{}, fmt.Errorf("reading %s of %s: %w", name, rolePath, err)
		}
	}
	return role, nil
}

// replacesAlike judges the role: what it makes is a provisioner token and no
// more.
func replacesAlike(role tokenRole) error {
	switch {
	case !role.orphan:
		return fmt.Errorf("%s has orphan=false, want true: a replacement would die with the token that made it", rolePath)
	case role.period <= 0:
		return fmt.Errorf("%s has no token_period, want one: a replacement would end at max_lease_ttl (hashicorp/vault#2134)", rolePath)
	case !role.renewable:
		return fmt.Errorf("%s has renewable=false, want true", rolePath)
	case role.explicitMax > 0:
		return fmt.Errorf("%s has token_explicit_max_ttl %s, want none", rolePath, role.explicitMax)
	case !slices.Equal(role.policies, []string{provisionerName}) || len(role.globs) > 0:
		return fmt.Errorf("%s allows the policies %v and those like %v, want [%s] alone: it would hand out more than the provisioner has", rolePath, role.policies, role.globs, provisionerName)
	case !role.noDefault:
		return fmt.Errorf("%s has token_no_default_policy=false, want true", rolePath)
	}
	return nil
}

// settledVersions lists the versions of the token, newest first, and waits for
// a replacement under way to end.
func settledVersions(ctx context.Context, store custody.Store, name string) ([]custody.Version, error) {
	var versions []custody.Version
	err := wait.PollUntilContextTimeout(ctx, time.Second, rotationTimeout, true, func(ctx context.Context) (bool, error) {
		listed, err := store.Versions(ctx, name)
		if err != nil {
			return false, fmt.Errorf("listing the versions of %s in custody: %w", name, err)
		}
		versions = listed
		return newestAlone(name, versions) == nil, nil
	})
	if wait.Interrupted(err) && ctx.Err() == nil {
		return versions, nil // what is left to be judged
	}
	return versions, err
}

// newestAlone judges the versions, newest first: that one alone can be read.
func newestAlone(name string, versions []custody.Version) error {
	if len(versions) == 0 {
		return fmt.Errorf("custody holds no version of secret %s, want one", name)
	}
	if newest := versions[0]; newest.State != custody.Enabled {
		return fmt.Errorf("version %s of secret %s, the newest, is %s, want it enabled", newest.Name, name, newest.State)
	}
	var old []string
	for _, v := range versions[1:] {
		if v.State == custody.Enabled {
			old = append(old, v.Name)
		}
	}
	if len(old) > 0 {
		return fmt.Errorf("versions %s of secret %s are enabled beside version %s, want them disabled once they are replaced", strings.Join(old, ", "), name, versions[0].Name)
	}
	return nil
}
