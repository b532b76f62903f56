package target

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/hashicorp/vault/api"
	corev1 "k8s.io/api/core/v1"
)

// ErrNoPrivilege means that no token at hand may read what was asked for.
var ErrNoPrivilege = errors.New("no token at hand may read this")

// givenToken is the name in messages of the token that somebody gave.
const givenToken = "in the target file's tokenFile"

// token is the one that was given, or one from custody.
func (t *Target) token(ctx context.Context, name string) ([]byte, error) {
	if name == givenToken {
		return t.admin, nil
	}
	return t.Secret(ctx, name)
}

// ReadPrivileged reads a path of the active pod with the token that was given, or one from
// custody: the root token if it is kept, else the provisioner token.
func (t *Target) ReadPrivileged(ctx context.Context, path string) (*api.Secret, error) {
	active, err := t.Active(ctx)
	if err != nil {
		return nil, err
	}
	return t.ReadPrivilegedOn(ctx, active.Pod.Name, path)
}

// ReadPrivilegedOn is ReadPrivileged on one pod.
func (t *Target) ReadPrivilegedOn(ctx context.Context, pod, path string) (*api.Secret, error) {
	client, closeClient, err := t.Pod(ctx, pod)
	if err != nil {
		return nil, err
	}
	defer closeClient()
	var refused []error
	names := []string{RootTokenSecret, ProvisionerTokenSecret}
	if len(t.admin) > 0 {
		names = append([]string{givenToken}, names...)
	}
	for _, name := range names {
		token, err := t.token(ctx, name)
		if err != nil {
			refused = append(refused, err)
			continue
		}
		client.SetToken(string(token))
		secret, err := client.Logical().ReadWithContext(ctx, path)
		var answer *api.ResponseError
		switch {
		case errors.As(err, &answer) && answer.StatusCode == http.StatusForbidden:
			refused = append(refused, fmt.Errorf("the token %s is refused", name))
		case err != nil:
			return nil, fmt.Errorf("reading %s from pod %s: %w", path, pod, err)
		case secret == nil:
			return nil, fmt.Errorf("reading %s from pod %s: Vault has nothing there", path, pod)
		default:
			return secret, nil
		}
	}
	return nil, fmt.Errorf("%w (%s): %w", ErrNoPrivilege, path, errors.Join(refused...))
}

// Log streams the log of a container; previous means that of its last life.
func (t *Target) Log(ctx context.Context, pod, container string, previous bool) (io.ReadCloser, error) {
	stream, err := t.Client.CoreV1().Pods(t.Namespace).GetLogs(pod, &corev1.PodLogOptions{
		Container: container, Previous: previous, Timestamps: true,
	}).Stream(ctx)
	if err != nil {
		return nil, fmt.Errorf("opening the log of container %s in pod %s: %w", container, pod, err)
	}
	return stream, nil
}
