package tenancy

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/vault/api"
	"github.com/onsi/ginkgo/v2"

	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/target"
	"github.com/vaultproof/vaultproof/pkg/tenancy"
)

var ten09 = conformance.Check{
	ID: "TEN-09", Area: area, Level: conformance.Must, Manner: conformance.Beside,
	Assertion: "the provisioner token reaches no storage, seal, key, snapshot or audit device, no policy, mount or login but tenants', makes no token with another policy, and reads and writes no tenant's secrets, keys or credentials",
	Source:    "HashiCorp Vault, policies and production hardening (least privilege); sys/raw, sys/seal",
	Observe:   "sys/capabilities-self for each path, with the token itself; then requests through the ingress that would do no harm if they were let through. A secret that the tenant itself can read is the control",
	Timeout:   8 * time.Minute,
}

var _ = conformance.It(ten09, conformance.Conformance, func(ctx ginkgo.SpecContext, r *conformance.Case) error {
	env, err := tenants(ctx, r)
	if err != nil {
		return err
	}
	token, err := r.Target.Secret(ctx, target.ProvisionerTokenSecret)
	if err != nil {
		return r.CannotTell(err)
	}
	defer clear(token)
	client, err := env.Door.Client(string(token))
	if err != nil {
		return r.CannotTell(err)
	}
	if err := alive(ctx, client); err != nil {
		return r.CannotTell(err)
	}
	bounds := boundsOf(env.both())
	has, err := capabilities(ctx, client, slices.Sorted(maps.Keys(bounds)))
	if err != nil {
		return r.CannotTell(err)
	}
	r.Measure("paths_asked_total", float64(len(has)))
	// What is allowed is not tried: it might be done.
	if err := within(bounds, has); err != nil {
		return err
	}
	if err := env.keepSecret(ctx, r, env.A); err != nil {
		return r.CannotTell(err)
	}
	var answers []reply
	for _, f := range forays(env.A) {
		answers = append(answers, f.try(ctx, client))
	}
	r.Measure("refused_requests_total", float64(len(answers)))
	if err := replied(answers); err != nil {
		return r.CannotTell(err)
	}
	return turnedBack(answers)
})

// alive makes sure that the token is good: one that is not is refused everything.
func alive(ctx context.Context, client *api.Client) error {
	if _, err := client.Auth().Token().LookupSelfWithContext(ctx); err != nil {
		return fmt.Errorf("the provisioner token does not work, so that it is refused shows nothing: %w", err)
	}
	return nil
}

// boundsOf are the most that the provisioner may do at each path: nothing where there is no
// capability.
func boundsOf(all []tenancy.Tenant) map[string][]string {
	bounds := map[string][]string{
		// What the bootstrap sidecar has written it reads, to tell that somebody changed it.
		"sys/policies/acl/admin": {"read"}, "sys/policies/acl/provisioner": {"read"}, "sys/audit": {"read", "sudo"},
		"sys/mounts": {"read"}, "sys/auth": {"read"},
	}
	for _, path := range []string{
		// Below the barrier, and the barrier itself.
		"sys/raw", "sys/raw/core/keyring", "sys/raw/sys/policy/admin", "sys/seal", "sys/step-down", "sys/rotate", "sys/rotate/config",
		"sys/rekey/init", "sys/rekey/update", "sys/rekey/verify", "sys/rekey-recovery-key/init", "sys/generate-root/attempt", "sys/generate-root/update",
		"sys/storage/raft/snapshot", "sys/storage/raft/snapshot-force", "sys/storage/raft/remove-peer", "sys/storage/raft/autopilot/configuration",
		// What is recorded, and how.
		"sys/audit/vaultproof-ten-09", "sys/audit-hash/file", "sys/config/auditing/request-headers/X-Vault-Token", "sys/config/cors", "sys/loggers",
		// What others have.
		"sys/policies/acl/root", "sys/policies/acl/default", "sys/policies/acl/ten-09", "sys/policy/admin", "sys/policies/password/ten-09",
		"sys/mounts/ten-09", "sys/mounts/identity/tune", "sys/auth/ten-09", "sys/auth/token/tune", "sys/remount", "sys/plugins/catalog/auth/ten-09", "sys/plugins/reload/backend",
		"sys/leases/revoke-prefix/" + all[0].Mount, "sys/leases/revoke-force/" + all[0].Mount, "sys/leases/lookup/" + all[0].Database, "sys/quotas/rate-limit/ten-09",
		// Ways to be somebody else.
		"auth/token/create-orphan", "auth/token/roles/ten-09", "auth/token/accessors", "auth/token/lookup-accessor", "auth/token/revoke-accessor", "auth/token/revoke-orphan",
		"auth/gcp/role/admin", "identity/entity", "identity/entity-alias", "identity/oidc/key/ten-09",
	} {
		bounds[path] = nil
	}
	for _, t := range all {
		for _, path := range []string{
			t.KV + "/data/app", t.KV + "/metadata/app", t.KV + "/metadata", t.KV + "/delete/app", t.KV + "/undelete/app", t.KV + "/destroy/app", t.KV + "/subkeys/app",
			t.Transit + "/encrypt/app", t.Transit + "/decrypt/app", t.Transit + "/datakey/plaintext/app", t.Transit + "/export/encryption-key/app", t.Transit + "/backup/app", t.Transit + "/keys/app",
			t.Database + "/creds/" + t.Role, t.Database + "/static-creds/" + t.Role, t.Database + "/rotate-root/" + t.Mount,
		} {
			bounds[path] = nil
		}
	}
	return bounds
}

// capabilities asks Vault what a token may do at paths.
func capabilities(ctx context.Context, client *api.Client, paths []string) (map[string][]string, error) {
	told, err := client.Logical().WriteWithContext(ctx, "sys/capabilities-self", map[string]any{"paths": paths})
	if err != nil {
		return nil, fmt.Errorf("asking Vault what the provisioner token may do: %w", err)
	}
	has := map[string][]string{}
	for _, path := range paths {
		list, is := told.Data[path].([]any)
		if !is {
			return nil, fmt.Errorf("asking Vault what the provisioner token may do: it does not say of %s", path)
		}
		for _, one := range list {
			if one != "deny" {
				has[path] = append(has[path], fmt.Sprint(one))
			}
		}
		if has[path] == nil {
			has[path] = []string{}
		}
	}
	return has, nil
}

// within judges capabilities by their bounds.
func within(bounds, has map[string][]string) error {
	var wrong []string
	for _, path := range slices.Sorted(maps.Keys(bounds)) {
		var more []string
		for _, one := range has[path] {
			if !slices.Contains(bounds[path], one) {
				more = append(more, one)
			}
		}
		if len(more) > 0 {
			most := "nothing"
			if len(bounds[path]) > 0 {
				most = strings.Join(bounds[path], ", ") + " alone"
			}
			wrong = append(wrong, fmt.Sprintf("%s %s (want %s)", strings.Join(more, ", "), path, most))
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	return fmt.Errorf("sys/capabilities-self says that the provisioner token may %s: whoever takes it has that too; mend the policy provisioner", strings.Join(wrong, "; "))
}

// keepSecret has a tenant write a secret with its own token, and read it: where nothing is,
// nothing could be read.
func (e *Env) keepSecret(ctx context.Context, r *conformance.Case, t tenancy.Tenant) error {
	jwt, err := e.Cluster.Token(ctx, t.Namespace, t.ServiceAccount, "", tenancy.ShortestToken)
	if err != nil {
		return err
	}
	auth, err := tenancy.Login(ctx, e.Door, t.Mount, t.Role, jwt)
	if err != nil {
		return err
	}
	r.Defer(func(ctx context.Context) error { return e.giveBack(ctx, auth) })
	client, err := e.Door.Client(auth.ClientToken)
	if err != nil {
		return err
	}
	path := t.KV + "/data/" + keptAt
	for _, q := range []request{{http.MethodPut, path, map[string]any{"data": map[string]any{"of": "tenant " + t.Name}}}, {http.MethodGet, path, nil}} {
		if status := q.do(ctx, client); status != http.StatusOK {
			return fmt.Errorf("tenant %s cannot %s (status %d), so there is no secret for the provisioner to try", t.Name, q, status)
		}
	}
	return nil
}

// keptAt is where the tenant keeps the secret, below data/.
const keptAt = "vaultproof/ten-09"

// foray is a request that the provisioner should not get through with, and that would do no
// harm if it did.
type foray struct {
	request
	// badRequest: Vault may also answer 400, as to a token that would be more than its maker.
	badRequest bool
}

// reply is what came of one.
type reply struct {
	foray
	status int
	at     time.Time
}

func (f foray) try(ctx context.Context, client *api.Client) reply {
	at := time.Now()
	return reply{foray: f, status: f.do(ctx, client), at: at}
}

// forays are tried with what it takes to be refused, and not with what it takes to succeed:
// whoever may mount an engine is told that its type is missing. Sealing is not tried at all.
func forays(t tenancy.Tenant) []foray {
	get := func(path string) foray { return foray{request: request{http.MethodGet, path, nil}} }
	put := func(path string) foray { return foray{request: request{http.MethodPut, path, nil}} }
	child := func(path, policy string) foray {
		data := map[string]any{"policies": []string{policy}, "no_default_policy": true, "ttl": "1s"}
		return foray{request{http.MethodPut, path, data}, true}
	}
	return []foray{
		get(t.KV + "/data/" + keptAt), get(t.KV + "/metadata/" + keptAt), {request: request{"LIST", t.KV + "/metadata/", nil}},
		put(t.KV + "/data/" + keptAt),
		put(t.Transit + "/encrypt/app"), put(t.Transit + "/decrypt/app"), get(t.Transit + "/keys/app"), get(t.Transit + "/export/encryption-key/app"),
		get(t.Database + "/creds/" + t.Role),
		get("sys/raw/core/keyring"), {request: request{"LIST", "sys/raw/", nil}}, {request: request{"LIST", "auth/token/accessors", nil}},
		put("sys/policies/acl/ten-09"), put("sys/policies/acl/admin"), put("sys/policies/acl/root"),
		put("sys/mounts/ten-09"), put("sys/auth/ten-09"), put("sys/audit/vaultproof-ten-09"),
		child("auth/token/create", "root"), child("auth/token/create", "admin"), child("auth/token/create", "default"), child("auth/token/create", t.Policy),
		child("auth/token/create-orphan", "provisioner"), child("auth/token/create/provisioner", "admin"), child("auth/token/create/handover", "root"),
	}
}

// replied fails if Vault did not answer: that says nothing of what it lets through.
func replied(answers []reply) error {
	for _, a := range answers {
		if a.status == 0 {
			return fmt.Errorf("Vault did not answer %s", a.request)
		}
	}
	return nil
}

// turnedBack judges that every request was refused.
func turnedBack(answers []reply) error {
	var wrong []error
	for _, a := range answers {
		if a.status == http.StatusForbidden || a.badRequest && a.status == http.StatusBadRequest {
			continue
		}
		wrong = append(wrong, fmt.Errorf("%s with the provisioner token got status %d at %s, want 403", a.request, a.status, clock(a.at)))
	}
	return errors.Join(wrong...)
}
