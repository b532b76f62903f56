package isolation

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/remotecommand"

	"github.com/vaultproof/vaultproof/pkg/conformance"
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
	request := t.Client.CoreV1().RESTClient().Post().
		Resource("pods").Namespace(t.Namespace).Name(pod).SubResource("exec").
		VersionedParams(&corev1.PodExecOptions{
			Container: t.Container, Command: []string{"/bin/sh", "-c", script}, Stdout: true, Stderr: true,
		}, scheme.ParameterCodec)
	executor, err := remotecommand.NewSPDYExecutor(t.Config, "POST", request.URL())
	if err != nil {
		return "", fmt.Errorf("preparing to look into container %s of pod %s: %w", t.Container, pod, err)
	}
	var out, complaints bytes.Buffer
	if err := executor.StreamWithContext(ctx, remotecommand.StreamOptions{Stdout: &out, Stderr: &complaints}); err != nil {
		return "", fmt.Errorf("looking into container %s of pod %s with a shell: %w (%s)", t.Container, pod, err, strings.TrimSpace(complaints.String()))
	}
	return out.String(), nil
}
