package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/vaultproof/vaultproof/pkg/kube"
	"github.com/vaultproof/vaultproof/pkg/target"
)

const (
	// sidecarBinary is the sidecar's path in its image.
	sidecarBinary = "/usr/local/bin/bootstrap"
	// execTimeout bounds one command in a container.
	execTimeout = 20 * time.Second
)

// sidecarBuild asks a sidecar in a Vault pod what it was built from.
func sidecarBuild(ctx context.Context, t *target.Target) (string, error) {
	pods, err := t.Pods(ctx)
	if err != nil {
		return "", err
	}
	if len(pods) == 0 {
		return "", errors.New("there is no Vault pod whose sidecar could be asked what it was built from")
	}
	ctx, cancel := context.WithTimeout(ctx, execTimeout)
	defer cancel()
	out, err := kube.Command{
		Namespace: t.Namespace, Pod: pods[0].Name, Container: t.SidecarContainer, Args: []string{sidecarBinary, "version"},
	}.Output(ctx, t.Config, t.Client)
	if err != nil {
		return "", fmt.Errorf("asking a sidecar what it was built from: %w", err)
	}
	return strings.TrimSpace(out), nil
}
