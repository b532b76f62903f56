package provision

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/hashicorp/vault/api"
	"github.com/vaultproof/vaultproof/bootstrap/failpoint"
	"github.com/vaultproof/vaultproof/bootstrap/policies"
	"github.com/vaultproof/vaultproof/bootstrap/vault"
)

// policies writes, with the root token, those that differ.
func (p *Provisioner) policies(ctx context.Context, root *api.Client) error {
	for _, name := range policies.Names {
		have, err := root.Sys().GetPolicyWithContext(ctx, name)
		if err != nil {
			return fmt.Errorf("reading policy %s: %w", name, err)
		}
		if p.samePolicy(name, have) {
			continue
		}
		failpoint.Hit("before-policy-" + name)
		if err := root.Sys().PutPolicyWithContext(ctx, name, p.Policies[name]); err != nil {
			return fmt.Errorf("writing policy %s: %w", name, err)
		}
		failpoint.Hit("after-policy-" + name)
		p.Log.Info("policy written", "policy", name, "replaced", have != "")
	}
	return nil
}

func (p *Provisioner) samePolicy(name, have string) bool {
	return strings.TrimSpace(have) == strings.TrimSpace(p.Policies[name])
}

// roles writes, with the root token, the token roles that differ.
func (p *Provisioner) roles(ctx context.Context, root *api.Client) error {
	for _, k := range kinds {
		have, err := root.Logical().ReadWithContext(ctx, k.role())
		if err != nil {
			return fmt.Errorf("reading token role %s: %w", k.policy, err)
		}
		if p.sameRole(k, have) {
			continue
		}
		failpoint.Hit("before-role-" + k.policy)
		if _, err := root.Logical().WriteWithContext(ctx, k.role(), p.wantRole(k)); err != nil {
			return fmt.Errorf("writing token role %s: %w", k.policy, err)
		}
		failpoint.Hit("after-role-" + k.policy)
		p.Log.Info("token role written", "role", k.policy, "replaced", have != nil)
	}
	return nil
}

// wantRole is a role whose tokens are orphans, so that they outlive whoever made
// them, have a period, so that they live as long as somebody renews them, and
// can do nothing but what the policy says.
func (p *Provisioner) wantRole(k kind) map[string]any {
	return map[string]any{
		"allowed_policies":        []string{k.policy},
		"orphan":                  true,
		"renewable":               true,
		"token_period":            int64(p.Period.Seconds()),
		"token_no_default_policy": true,
		"token_explicit_max_ttl":  int64(0),
		"token_num_uses":          int64(0),
		"allowed_policies_glob":   []string{},
		"path_suffix":             "",
	}
}

// sameRole tells whether Vault's role is as it should be. What Vault leaves out
// of its answer is nought.
func (p *Provisioner) sameRole(k kind, have *api.Secret) bool {
	if have == nil {
		return false
	}
	for field, want := range p.wantRole(k) {
		if !same(want, have.Data[field]) {
			return false
		}
	}
	return true
}

func same(want, have any) bool {
	switch want := want.(type) {
	case []string:
		list, _ := have.([]any)
		if len(list) != len(want) {
			return false
		}
		for i := range want {
			if list[i] != want[i] {
				return false
			}
		}
		return true
	case int64:
		n, ok := have.(json.Number)
		if !ok {
			return have == nil && want == 0
		}
		got, err := n.Int64()
		return err == nil && got == want
	}
	return want == have
}

// compare finds out with the provisioner token what a root token would mend, and
// notes it.
func (p *Provisioner) compare(ctx context.Context, as *api.Client, noRoot string, but *reservations) error {
	var differ []string
	for _, name := range policies.Names {
		have, err := as.Sys().GetPolicyWithContext(ctx, name)
		if err != nil && !vault.Denied(err) {
			return fmt.Errorf("reading policy %s with the provisioner token: %w", name, err)
		}
		if err != nil || !p.samePolicy(name, have) {
			differ = append(differ, "policy "+name+unreadable(err))
		}
	}
	for _, k := range kinds {
		have, err := as.Logical().ReadWithContext(ctx, k.role())
		if err != nil && !vault.Denied(err) {
			return fmt.Errorf("reading token role %s with the provisioner token: %w", k.policy, err)
		}
		if err != nil || !p.sameRole(k, have) {
			differ = append(differ, "token role "+k.policy+unreadable(err))
		}
	}
	files, err := p.withoutDevice(ctx, as)
	if err != nil && !vault.Denied(err) {
		return fmt.Errorf("with the provisioner token: %w", err)
	}
	if err != nil {
		differ = append(differ, "perhaps the audit devices"+unreadable(err))
	}
	for _, file := range files {
		differ = append(differ, "the missing audit device for "+file)
	}
	if len(differ) > 0 {
		but.add("in Vault, %s differ from what this sidecar has, and there is no live root token to mend that with (%s): %s",
			strings.Join(differ, ", "), noRoot, p.mend())
	}
	if p.KeepRoot {
		but.add("the root token was to be kept, but there is no live one (%s)", noRoot)
	}
	return nil
}

func unreadable(err error) string {
	if err == nil {
		return ""
	}
	return " (not readable with the provisioner token)"
}
