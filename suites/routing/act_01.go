package routing

import (
	"errors"
	"fmt"
	"strings"

	"github.com/onsi/ginkgo/v2"

	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/target"
)

var act01 = conformance.Check{
	ID: "ACT-01", Area: area, Level: conformance.Must, Manner: conformance.Reads,
	Assertion: "steady state: exactly one pod is labelled vault-active=true, and its own sys/leader says is_self",
	Source:    "hashicorp/vault#18117",
	Observe:   "the labels of all Vault pods beside sys/leader of each",
}

var _ = conformance.It(act01, conformance.Conformance, func(ctx ginkgo.SpecContext, r *conformance.Case) error {
	states, err := r.Target.State(ctx)
	if err != nil {
		return r.CannotTell(err)
	}
	var claims []claim
	for _, s := range states {
		c := claim{pod: s.Pod.Name, label: s.Pod.Labels[target.ActiveLabel], isSelf: s.IsSelf}
		if s.Err != nil {
			c.silent = s.Err.Error()
		}
		claims = append(claims, c)
	}
	return oneActive(claims)
})

// claim is what the label of a pod and the pod itself say of it.
type claim struct {
	pod    string
	label  string // of vault-active, empty if absent
	isSelf bool
	silent string // why the pod does not answer
}

// oneActive judges labels against what the pods say.
func oneActive(claims []claim) error {
	var labelled, active []string
	for _, c := range claims {
		if c.silent != "" {
			return fmt.Errorf("pod %s cannot be asked for sys/leader: %s", c.pod, c.silent)
		}
		if c.label == "true" {
			labelled = append(labelled, c.pod)
		}
		if c.isSelf {
			active = append(active, c.pod)
		}
	}
	switch {
	case len(claims) == 0:
		return errors.New("there is no Vault pod")
	case len(active) != 1:
		return fmt.Errorf("sys/leader says is_self on %s, want it on one pod", names(active))
	case len(labelled) != 1:
		return fmt.Errorf("%s bear the label %s=true while %s is active, want that pod alone (hashicorp/vault#18117)", names(labelled), target.ActiveLabel, active[0])
	case labelled[0] != active[0]:
		return fmt.Errorf("pod %s is labelled %s=true, but sys/leader says is_self on %s", labelled[0], target.ActiveLabel, active[0])
	}
	return nil
}

func names(pods []string) string {
	if len(pods) == 0 {
		return "no pod"
	}
	return fmt.Sprintf("%d pods (%s)", len(pods), strings.Join(pods, ", "))
}
