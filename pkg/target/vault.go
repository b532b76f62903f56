package target

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/hashicorp/vault/api"
)

// VaultPort is Vault's API port in the pod.
const VaultPort = 8200

// clientTimeout bounds one request to one pod.
const clientTimeout = 10 * time.Second

// Pod returns a Vault client that speaks to exactly this pod, through the API
// server's port-forward, with the pod's certificate verified against the
// target's CA and server name, or in clear where TLS is off. It has no token, does not retry and takes
// nothing from the environment. The function returned closes its connections.
func (t *Target) Pod(ctx context.Context, pod string) (*api.Client, func(), error) {
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return t.DialPod(ctx, pod, VaultPort)
		},
		TLSHandshakeTimeout: clientTimeout,
		MaxIdleConns:        1,
		IdleConnTimeout:     time.Minute,
	}
	if !t.Plaintext {
		var err error
		if transport.TLSClientConfig, err = t.TLS(); err != nil {
			return nil, nil, err
		}
	}
	config := &api.Config{
		Address:      t.Address(),
		HttpClient:   &http.Client{Transport: transport, CheckRedirect: noRedirect},
		Timeout:      clientTimeout,
		MaxRetries:   0,
		CloneHeaders: false,
	}
	client, err := api.NewClient(config)
	if err != nil {
		return nil, nil, fmt.Errorf("preparing a Vault client for pod %s: %w", pod, err)
	}
	client.ClearToken()
	client.ClearNamespace()
	return client, transport.CloseIdleConnections, nil
}

// noRedirect keeps an answer the answer of this pod: a standby's redirect leads
// to another one.
func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// TLS is the configuration that verifies a Vault listener of this target.
func (t *Target) TLS() (*tls.Config, error) {
	config := &tls.Config{ServerName: t.ServerName, MinVersion: tls.VersionTLS12}
	if len(t.CA) == 0 {
		return config, nil
	}
	config.RootCAs = x509.NewCertPool()
	if !config.RootCAs.AppendCertsFromPEM(t.CA) {
		return nil, errors.New("the CA of the target holds no PEM certificate")
	}
	return config, nil
}
