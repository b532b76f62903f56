package kube

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/streaming/pkg/httpstream"
)

// Command is a program to run in a container that runs already.
type Command struct {
	Namespace, Pod, Container string
	// Args begin with the program.
	Args []string
	// Stdin is what it reads; nil is nothing.
	Stdin io.Reader
}

// Run runs it to its end and copies what it prints. An exit code other than zero is an
// error that wraps exec.CodeExitError of client-go, and has what the program complained
// about.
func (c Command) Run(ctx context.Context, config *rest.Config, client kubernetes.Interface, stdout io.Writer) error {
	executor, err := c.executor(config, client)
	if err != nil {
		return fmt.Errorf("preparing a command in container %s of pod %s/%s: %w", c.Container, c.Namespace, c.Pod, err)
	}
	var complaints bytes.Buffer
	err = executor.StreamWithContext(ctx, remotecommand.StreamOptions{Stdin: c.Stdin, Stdout: stdout, Stderr: &complaints})
	if err != nil {
		return fmt.Errorf("running a command in container %s of pod %s/%s: %w (%s)", c.Container, c.Namespace, c.Pod, err, strings.TrimSpace(complaints.String()))
	}
	return nil
}

// Output runs it and returns what it printed.
func (c Command) Output(ctx context.Context, config *rest.Config, client kubernetes.Interface) (string, error) {
	var out bytes.Buffer
	err := c.Run(ctx, config, client, &out)
	return out.String(), err
}

// executor speaks WebSocket, and SPDY to an API server that does not.
func (c Command) executor(config *rest.Config, client kubernetes.Interface) (remotecommand.Executor, error) {
	request := client.CoreV1().RESTClient().Post().
		Resource("pods").Namespace(c.Namespace).Name(c.Pod).SubResource("exec").
		VersionedParams(&corev1.PodExecOptions{
			Container: c.Container, Command: c.Args, Stdin: c.Stdin != nil, Stdout: true, Stderr: true,
		}, scheme.ParameterCodec)
	sockets, err := remotecommand.NewWebSocketExecutor(config, "GET", request.URL().String())
	if err != nil {
		return nil, err
	}
	spdy, err := remotecommand.NewSPDYExecutor(config, "POST", request.URL())
	if err != nil {
		return nil, err
	}
	return remotecommand.NewFallbackExecutor(sockets, spdy, func(err error) bool {
		return httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err)
	})
}
