package ops

import (
	"context"
	"io"

	"github.com/vaultproof/vaultproof/pkg/kube"
	"github.com/vaultproof/vaultproof/pkg/target"
)

// command is something to run in Vault's container of a pod, as the user that Vault
// runs as.
type command struct {
	script string // of sh
	args   []string
	stdin  io.Reader
	stdout io.Writer
}

// run runs it to its end.
func (c command) run(ctx context.Context, t *target.Target, pod string) error {
	return kube.Command{
		Namespace: t.Namespace, Pod: pod, Container: t.Container,
		Args: append([]string{"sh", "-c", c.script, "sh"}, c.args...), Stdin: c.stdin,
	}.Run(ctx, t.Config, t.Client, c.stdout)
}
