package isolation

import (
	"context"
	"fmt"
	"time"

	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/kube"
	"github.com/vaultproof/vaultproof/pkg/target"
)

// execTimeout bounds one script in a container.
const execTimeout = 20 * time.Second

// mayExec skips the check if this user may not run commands in Vault's containers, which
// many clusters forbid for good reasons.
func mayExec(ctx context.Context, r *conformance.Case, why string) error {
	missing, err := r.Target.Missing(ctx, []target.Permission{{Verb: "create", Resource: "pods", Subresource: "exec", Namespace: r.Target.Namespace}})
	if err != nil {
		return r.CannotTell(err)
	}
	if len(missing) > 0 {
		return r.Skip("%s, and the user of the kubeconfig may not %s", why, missing[0])
	}
	return nil
}

// run runs a shell script in Vault's container of a pod and returns what it printed. It
// is for what /proc says; a script must not print secrets.
func run(ctx context.Context, t *target.Target, pod, script string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, execTimeout)
	defer cancel()
	out, err := kube.Command{
		Namespace: t.Namespace, Pod: pod, Container: t.Container, Args: []string{"/bin/sh", "-c", script},
	}.Output(ctx, t.Config, t.Client)
	if err != nil {
		return "", fmt.Errorf("looking into Vault with a shell: %w", err)
	}
	return out, nil
}
