// Package kube is the little of the Kubernetes API that the sidecar needs: read
// a pod, set labels of it, delete it. It speaks plain REST over net/http,
// because the official client alone would be larger than the whole sidecar.
//
// Every write is conditional. Labels are only set on the very version of the
// pod that was read, and only the very pod that was read is deleted, so that a
// decision never lands on a state it was not made for.
package kube

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	// DefaultTokenFile is where Kubernetes mounts a service account's token, with
	// ca.crt and namespace beside it.
	DefaultTokenFile = "/var/run/secrets/kubernetes.io/serviceaccount/token"
	// callTimeout bounds one call, connection and answer included.
	callTimeout = 3 * time.Second
	// answerLimit in bytes. A pod has at most 1.5 MB in the API server's store.
	answerLimit = 4 << 20
)

// Config says how to reach the API server.
type Config struct {
	// TokenFile is read anew for each call, because the kubelet replaces it. The
	// files ca.crt and namespace are beside it.
	TokenFile string
	// Host and Port of the API server: what the environment's
	// KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT say.
	Host, Port string
}

// FromEnv completes a token file (DefaultTokenFile if empty) with what the
// kubelet put into the environment; env is os.LookupEnv.
func FromEnv(tokenFile string, env func(string) (string, bool)) Config {
	if tokenFile == "" {
		tokenFile = DefaultTokenFile
	}
	host, _ := env("KUBERNETES_SERVICE_HOST")
	port, _ := env("KUBERNETES_SERVICE_PORT")
	return Config{TokenFile: tokenFile, Host: host, Port: port}
}

// Client of one namespace. It may be used by many goroutines.
type Client struct {
	base, tokenFile string
	namespace       string
	timeout         time.Duration // of one call
	http            *http.Client
}

// Namespace of the pod.
func (c *Client) Namespace() string { return c.namespace }

// New makes a client of the pod's own namespace. The error is ErrAbsent if
// there is nothing to speak with: no environment of a pod, or no token mounted.
func New(c Config) (*Client, error) {
	if c.Host == "" || c.Port == "" {
		return nil, fmt.Errorf("%w: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set", ErrAbsent)
	}
	dir := filepath.Dir(c.TokenFile)
	caFile := filepath.Join(dir, "ca.crt")
	namespace, err := os.ReadFile(filepath.Join(dir, "namespace"))
	for _, f := range []string{c.TokenFile, caFile} {
		if err == nil {
			_, err = os.Stat(f)
		}
	}
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%w: mount a service-account token with ca.crt and namespace beside it, or set -kube-token-file: %v", ErrAbsent, err)
	}
	if err != nil {
		return nil, fmt.Errorf("reading what Kubernetes mounted for the API server: %w", err)
	}
	ns := strings.TrimSpace(string(namespace))
	if ns == "" {
		return nil, fmt.Errorf("the file %s is empty: it must name this pod's namespace", filepath.Join(dir, "namespace"))
	}
	return &Client{
		base:      pods(c.Host, c.Port, ns),
		tokenFile: c.TokenFile,
		namespace: ns,
		timeout:   callTimeout,
		http: &http.Client{
			Transport: transport(caFile, c.Host),
			// The token goes to the API server and nowhere else.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// call is one request about a pod.
type call struct {
	method, pod string
	contentType string
	body        any
	doing       string // for errors: what was being done
}

// do makes the call and decodes a good answer into out.
func (c *Client) do(ctx context.Context, what call, out any) error {
	err := c.try(ctx, what, out)
	if err != nil {
		return fmt.Errorf("%s: %w", what.doing, err)
	}
	return nil
}

func (c *Client) try(ctx context.Context, what call, out any) error {
	bounded, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	req, err := c.request(bounded, what)
	if err != nil {
		return err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return silent(ctx, err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, answerLimit))
	if err != nil {
		return silent(ctx, fmt.Errorf("reading the API server's answer: %w", err))
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return refused(resp.StatusCode, raw)
	}
	if err := json.Unmarshal(raw, out); err != nil {
		return fmt.Errorf("%w: its answer is not the JSON of a pod: %v", ErrUnavailable, err)
	}
	return nil
}

func (c *Client) request(ctx context.Context, what call) (*http.Request, error) {
	token, err := os.ReadFile(c.tokenFile)
	if err != nil {
		return nil, fmt.Errorf("reading the token for the API server: %w", err)
	}
	defer clear(token)
	var body io.Reader
	if what.body != nil {
		raw, err := json.Marshal(what.body)
		if err != nil {
			return nil, fmt.Errorf("encoding the request: %w", err)
		}
		body = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(ctx, what.method, c.base+url.PathEscape(what.pod), body)
	if err != nil {
		return nil, fmt.Errorf("building the request: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	req.Header.Set("Accept", accept(what.method))
	req.Header.Set("User-Agent", "vaultproof-bootstrap")
	if what.contentType != "" {
		req.Header.Set("Content-Type", what.contentType)
	}
	return req, nil
}

// accept asks for the metadata alone where there is a choice: a pod's spec and
// status are long. Errors come as plain JSON.
func accept(method string) string {
	if method == http.MethodDelete {
		return "application/json"
	}
	return "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json"
}
