package main

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
	"github.com/vaultproof/vaultproof/bootstrap/policies"
	"github.com/vaultproof/vaultproof/pkg/ceremony"
)

// root makes a root token with the shares in custody, for the rest of the test.
func (p *pod) root() *api.Client {
	r := p.rig
	r.T.Helper()
	source := ceremony.Custody{Store: r.Store}
	for i := range r.Ring.Shares {
		source.Secrets = append(source.Secrets, r.Ring.Share(i))
	}
	token, err := ceremony.Root(r.T.Context(), p.Client(""), source.Shares, nil)
	must(r.T, err)
	root := p.Client(string(token))
	// In the end another pod may be the active one, or none.
	r.T.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(r.T.Context()), 5*time.Second)
		defer cancel()
		_ = ceremony.Revoke(ctx, root)
	})
	return root
}

// policyMatrix checks that what the sidecar wrote is what package policies
// tries one by one, and what it takes more than one Vault for: an admin may make
// the active one step down, and the provisioner may not.
func policyMatrix(t *testing.T, r *rig, active *pod) {
	root := active.root()
	hcl, err := policies.Load("")
	must(t, err)
	for _, name := range policies.Names {
		if have, err := root.Sys().GetPolicy(name); err != nil || strings.TrimSpace(have) != strings.TrimSpace(hcl[name]) {
			t.Errorf("policy %s is not the built-in one (error %v)", name, err)
		}
	}
	for id, policy := range map[string]string{r.Ring.Provisioner(): policies.Provisioner, r.Ring.Handover(): policies.Handover} {
		s, err := active.Client(r.secret(id)).Auth().Token().LookupSelf()
		must(t, err)
		if have, _ := s.TokenPolicies(); !slices.Equal(have, []string{policy}) {
			t.Errorf("the token in %s has the policies %v, want %s alone", id, have, policy)
		}
	}
	if err := active.Client(r.secret(r.Ring.Provisioner())).Sys().StepDown(); err == nil {
		t.Error("the provisioner made the active Vault step down")
	}

	s, err := root.Auth().Token().CreateOrphan(&api.TokenCreateRequest{TTL: "5m", Policies: []string{"admin"}})
	must(t, err)
	must(t, ceremony.Revoke(t.Context(), root))
	admin := active.Client(s.Auth.ClientToken)
	if _, err := admin.Logical().Read("sys/storage/raft/configuration"); err != nil {
		t.Errorf("an admin cannot read raft's configuration: %v", err)
	}
	if err := admin.Sys().StepDown(); err != nil {
		t.Errorf("an admin cannot make the active Vault step down: %v", err)
	}
	begin := time.Now()
	next := r.active()
	t.Logf("%s active %s after the step-down of %s", next.Name, time.Since(begin).Round(time.Millisecond), active.Name)
}
