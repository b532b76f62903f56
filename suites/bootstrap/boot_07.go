package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/hashicorp/vault/api"
	"github.com/onsi/ginkgo/v2"

	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/custody"
	"github.com/vaultproof/vaultproof/pkg/target"
)

var boot07 = conformance.Check{
	ID: "BOOT-07", Area: area, Level: conformance.Must, Manner: conformance.Reads,
	Assertion: "the root token is revoked at the end of the bootstrap: no version of it in custody can be read and is accepted by Vault",
	Source:    `Vault production hardening, "Avoid root tokens"`,
	Observe:   "states of the versions in custody; auth/token/lookup-self with each that can be read, and with the provisioner token as a control. Root tokens that custody does not give are BOOT-08's",
}

var _ = conformance.It(boot07, conformance.Conformance, func(ctx ginkgo.SpecContext, r *conformance.Case) error {
	client, done, err := activeClient(ctx, r.Target)
	if err != nil {
		return r.CannotTell(err)
	}
	defer done()
	versions, err := rootVersions(ctx, r.Target, client)
	if err != nil {
		return r.CannotTell(err)
	}
	r.Measure("root_token_versions_total", float64(len(versions)))
	if err := rootRevoked(r.Target.CustodyPrefix+"-"+target.RootTokenSecret, versions); err != nil {
		return err
	}
	if !anyRefused(versions) {
		return nil
	}
	// A Vault that refuses every token would make a living one look revoked.
	if _, err := provisionerFields(ctx, r.Target, client); err != nil {
		return r.Inconclusive("the root token is refused, but so may be every token: %w", err)
	}
	return nil
})

// rootVersion is one version of the root token in custody.
type rootVersion struct {
	version string
	state   custody.State
	// alive means that Vault took the token; asked is false if the version
	// could not be read.
	asked, alive bool
	policies     []string
}

// versionReader reads one version of a secret, which custody.Client can.
type versionReader interface {
	ReadVersion(ctx context.Context, id, version string) (custody.Secret, error)
}

// rootVersions tries every version of the root token in custody. None at all is
// no error.
func rootVersions(ctx context.Context, t *target.Target, client *api.Client) ([]rootVersion, error) {
	if t.Custody == nil {
		return nil, fmt.Errorf("%w: %s", target.ErrNoCustody, t.CustodyReason)
	}
	reader, ok := t.Custody.(versionReader)
	if !ok {
		return nil, fmt.Errorf("custody of type %T reads no single version of a secret", t.Custody)
	}
	name := t.CustodyPrefix + "-" + target.RootTokenSecret
	listed, err := t.Custody.Versions(ctx, name)
	if errors.Is(err, custody.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("listing the versions of %s in custody: %w", name, err)
	}
	var versions []rootVersion
	for _, v := range listed {
		one := rootVersion{version: v.Name, state: v.State}
		if v.State == custody.Enabled {
			if err := one.try(ctx, reader, name, client); err != nil {
				return nil, err
			}
		}
		versions = append(versions, one)
	}
	return versions, nil
}

// try reads the version and asks Vault about it.
func (v *rootVersion) try(ctx context.Context, reader versionReader, name string, client *api.Client) error {
	secret, err := reader.ReadVersion(ctx, name, v.version)
	if err != nil {
		return fmt.Errorf("reading version %s of %s from custody: %w", v.version, name, err)
	}
	defer secret.Payload.Wipe()
	fields, err := lookupSelf(ctx, client, secret.Payload)
	v.asked = err == nil || errors.Is(err, errTokenRefused)
	if errors.Is(err, errTokenRefused) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("looking up the token in version %s of %s: %w", v.version, name, err)
	}
	v.alive, v.policies = true, texts(fields["policies"])
	return nil
}

func anyRefused(versions []rootVersion) bool {
	for _, v := range versions {
		if v.asked && !v.alive {
			return true
		}
	}
	return false
}

// rootRevoked judges the versions of the root token. Those that are disabled or
// destroyed cannot be tried: if the token of one lived, BOOT-08 would see it.
func rootRevoked(secret string, versions []rootVersion) error {
	for _, v := range versions {
		switch {
		case v.alive:
			return fmt.Errorf("auth/token/lookup-self answers 200 to the token in version %s of secret %s, with the policies %v; want 403: the root token was not revoked at the end of the bootstrap (production hardening, \"Avoid root tokens\")",
				v.version, secret, v.policies)
		case v.state == custody.Enabled && !v.asked:
			return fmt.Errorf("version %s of secret %s is enabled and Vault was not asked about it", v.version, secret)
		}
	}
	return nil
}

// activeClient is a client of the active pod, without a token. The function
// closes it.
func activeClient(ctx context.Context, t *target.Target) (*api.Client, func(), error) {
	active, err := t.Active(ctx)
	if err != nil {
		return nil, nil, err
	}
	return t.Pod(ctx, active.Pod.Name)
}

// errTokenRefused: the token is dead, or may not even look itself up.
var errTokenRefused = errors.New("auth/token/lookup-self answers 403")

// lookupSelf asks Vault about a token.
func lookupSelf(ctx context.Context, client *api.Client, token []byte) (map[string]any, error) {
	client.SetToken(strings.TrimSpace(string(token)))
	defer client.ClearToken()
	secret, err := client.Auth().Token().LookupSelfWithContext(ctx)
	var answer *api.ResponseError
	switch {
	case errors.As(err, &answer) && answer.StatusCode == http.StatusForbidden:
		return nil, errTokenRefused
	case err != nil:
		return nil, fmt.Errorf("asking for auth/token/lookup-self: %w", err)
	case secret == nil || secret.Data == nil:
		return nil, errors.New("the answer of auth/token/lookup-self is empty")
	}
	return secret.Data, nil
}

// provisionerFields is what Vault says of the provisioner token in custody.
func provisionerFields(ctx context.Context, t *target.Target, client *api.Client) (map[string]any, error) {
	token, err := t.Secret(ctx, target.ProvisionerTokenSecret)
	if err != nil {
		return nil, err
	}
	defer clear(token)
	fields, err := lookupSelf(ctx, client, token)
	if err != nil {
		return nil, fmt.Errorf("the token in secret %s-%s: %w", t.CustodyPrefix, target.ProvisionerTokenSecret, err)
	}
	return fields, nil
}

// texts reads a list of strings out of an answer of Vault.
func texts(v any) []string {
	list, _ := v.([]any)
	var out []string
	for _, one := range list {
		if s, ok := one.(string); ok {
			out = append(out, s)
		}
	}
	return out
}
