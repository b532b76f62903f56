package tenancy

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/vault/api"
	"github.com/onsi/ginkgo/v2"

	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/tenancy"
)

var ten07 = conformance.Check{
	ID: "TEN-07", Area: area, Level: conformance.Must, Manner: conformance.Beside,
	Assertion: "a tenant's token is refused at another tenant's login and on all that is another's, and no path of one tenant's policies is in reach of another's",
	Source:    "HashiCorp Vault, policies: glob and segment wildcards (\"tenant-a*\" is also for tenant-ab)",
	Observe:   "logins with the tokens of each tenant at the other's mount, requests for the other's secrets, keys, credentials, roles and policies, and an intersection of the paths that their policies name",
	Timeout:   8 * time.Minute,
}

var _ = conformance.It(ten07, conformance.Conformance, func(ctx ginkgo.SpecContext, r *conformance.Case) error {
	env, err := tenants(ctx, r)
	if err != nil {
		return err
	}
	names := map[string][]string{} // of policies, by tenant
	refusals := 0
	for _, way := range []struct{ from, to tenancy.Tenant }{{env.A, env.B}, {env.B, env.A}} {
		policies, tried, err := env.trespass(ctx, r, way.from, way.to)
		if err != nil {
			return err
		}
		names[way.from.Name] = policies
		refusals += tried
	}
	r.Measure("refused_requests_total", float64(refusals))
	one, err := env.reach(ctx, r, names[env.A.Name])
	if err != nil {
		return r.CannotTell(err)
	}
	other, err := env.reach(ctx, r, names[env.B.Name])
	if err != nil {
		return r.CannotTell(err)
	}
	return apart(one, other)
})

// trespass has a tenant try what is another's, and returns the policies of its token and how
// many requests were refused.
func (e *Env) trespass(ctx context.Context, r *conformance.Case, from, to tenancy.Tenant) (policies []string, tried int, err error) {
	token, err := e.Cluster.Token(ctx, from.Namespace, from.ServiceAccount, "", tenancy.ShortestToken)
	if err != nil {
		return nil, 0, r.CannotTell(err)
	}
	astray, err := e.tryOnce(ctx, attempt{what: "the service account of tenant " + from.Name, mount: to.Mount, role: to.Role, jwt: token})
	if err != nil {
		return nil, 0, r.CannotTell(err)
	}
	if err := silent([]outcome{astray}); err != nil {
		return nil, 0, r.CannotTell(err)
	}
	if err := refused([]outcome{astray}); err != nil {
		return nil, 0, err
	}
	home := e.try(ctx, attempt{what: "the service account of tenant " + from.Name, mount: from.Mount, role: from.Role, jwt: token})
	if home.auth == nil {
		return nil, 0, r.CannotTell(fmt.Errorf("tenant %s does not get in at its own mount: %w", from.Name, home.err))
	}
	r.Defer(func(ctx context.Context) error { return e.giveBack(ctx, home.auth) })
	client, err := e.Door.Client(home.auth.ClientToken)
	if err != nil {
		return nil, 0, r.CannotTell(err)
	}
	// What is refused shows nothing with a token that is good for nothing.
	if own := (request{http.MethodGet, from.KV + "/data/app", nil}); own.do(ctx, client) == http.StatusForbidden {
		return nil, 0, r.CannotTell(fmt.Errorf("tenant %s may not %s of its own", from.Name, own))
	}
	var answers []answered403
	for _, each := range belongings(to) {
		answers = append(answers, answered403{each, each.do(ctx, client)})
	}
	return home.auth.Policies, len(answers) + 1, keptOut(from, answers)
}

// request is one that a tenant makes.
type request struct {
	method, path string
	data         map[string]any
}

func (q request) String() string { return q.method + " " + q.path }

// do returns the status with which Vault answers; 0 if it does not.
func (q request) do(ctx context.Context, client *api.Client) int {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var err error
	var secret *api.Secret
	switch q.method {
	case http.MethodGet:
		secret, err = client.Logical().ReadWithContext(ctx, q.path)
	case "LIST":
		secret, err = client.Logical().ListWithContext(ctx, q.path)
	case http.MethodDelete:
		_, err = client.Logical().DeleteWithContext(ctx, q.path)
	default:
		_, err = client.Logical().WriteWithContext(ctx, q.path, q.data)
	}
	if reads := q.method == http.MethodGet || q.method == "LIST"; reads && err == nil && secret == nil {
		return http.StatusNotFound
	}
	return tenancy.Status(err)
}

// belongings are requests for what is a tenant's, of every kind. Those that would change how
// it is set up lack what it takes: whoever may send them is told so, and nothing is changed.
func belongings(t tenancy.Tenant) []request {
	get := func(path string) request { return request{http.MethodGet, path, nil} }
	put := func(path string, data map[string]any) request { return request{http.MethodPut, path, data} }
	plain := map[string]any{"plaintext": "dmF1bHRwcm9vZg=="}
	return []request{
		get(t.KV + "/data/app"), get(t.KV + "/metadata/app"), get(t.KV + "/config"),
		{"LIST", t.KV + "/metadata/", nil},
		put(t.KV+"/data/vaultproof", map[string]any{"data": map[string]any{"by": "another tenant"}}),
		{http.MethodDelete, t.KV + "/data/vaultproof", nil},
		put(t.Transit+"/encrypt/app", plain),
		put(t.Transit+"/decrypt/app", map[string]any{"ciphertext": "vault:v1:dmF1bHRwcm9vZg=="}),
		get(t.Transit + "/keys/app"), get(t.Transit + "/export/encryption-key/app"),
		get(t.Database + "/creds/" + t.Role), get(t.Database + "/roles/" + t.Role), get(t.Database + "/config/postgres"),
		get(configPath(t)), get(rolePath(t, t.Role)), put(rolePath(t, t.Role), nil),
		get("sys/policies/acl/" + t.Policy), put("sys/policies/acl/"+t.Policy, nil),
		get("sys/mounts/" + t.KV), put("sys/mounts/"+t.KV, nil), put("sys/mounts/"+t.KV+"/tune", nil),
		get("sys/auth/" + t.Mount), put("sys/auth/"+t.Mount, nil),
	}
}

// answered403 is a request that should be answered with 403, and what it was answered with.
type answered403 struct {
	request
	status int
}

// keptOut judges the requests of a tenant for what is another's.
func keptOut(from tenancy.Tenant, answers []answered403) error {
	var wrong []string
	for _, a := range answers {
		if a.status != http.StatusForbidden {
			wrong = append(wrong, fmt.Sprintf("%s got status %d", a.request, a.status))
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	return fmt.Errorf("want status 403 for all that tenant %s asks of another tenant's: %s", from.Name, strings.Join(wrong, "; "))
}

// reach are the paths that policies grant something on, by policy. What the policy "default"
// grants, every token may do with itself.
func (e *Env) reach(ctx context.Context, r *conformance.Case, policies []string) (map[string][]string, error) {
	all := map[string][]string{}
	for _, name := range policies {
		if name == "default" {
			continue
		}
		data, err := readMap(ctx, r, "sys/policies/acl/"+name)
		if err != nil {
			return nil, err
		}
		text, _ := data["policy"].(string)
		if all[name], err = pathsOf(text); err != nil {
			return nil, fmt.Errorf("policy %s: %w", name, err)
		}
	}
	return all, nil
}

// apart judges the policies of two tenants: they are different ones, and no request falls
// under both.
func apart(one, other map[string][]string) error {
	for a, paths := range one {
		if _, both := other[a]; both {
			return fmt.Errorf("policy %s is on the tokens of both tenants, want one for each", a)
		}
		for b, others := range other {
			if pairs := shared(paths, others); len(pairs) > 0 {
				slices.Sort(pairs)
				return fmt.Errorf("policies %s and %s are for the same requests by the paths %s, want none in common", a, b, strings.Join(pairs, "; "))
			}
		}
	}
	return nil
}
