package custody

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	secretmanager "cloud.google.com/go/secretmanager/apiv1"
	"golang.org/x/oauth2"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
)

// Config says which Secret Manager to use and how to prove who we are.
type Config struct {
	// Project is the Google Cloud project (id or number) that holds the secrets.
	Project string
	// Endpoint is host:port of a Secret Manager server. Empty means Google's,
	// with Application Default Credentials; nothing else is then used.
	Endpoint string
	// CAPEM holds the certificate authorities that may sign the endpoint's
	// certificate; if empty, CAFile is read; if that is empty too, the system's.
	CAPEM  []byte
	CAFile string
	// TokenFile holds the bearer token; it is read anew for each call, so a
	// rotated projected token is picked up at once.
	TokenFile string
	// TokenSource gives the bearer token instead of TokenFile.
	TokenSource oauth2.TokenSource
	// Audience that the token must be for; empty leaves that to the server.
	Audience string
}

// Dial makes a Client. It connects lazily: an endpoint that is down shows as
// ErrUnavailable at the first call. Errors are those of the configuration.
func Dial(ctx context.Context, cfg Config) (*Client, error) {
	if cfg.Project == "" {
		return nil, errors.New("custody: no project is configured: set the project that holds the secrets")
	}
	if cfg.Endpoint == "" {
		api, err := secretmanager.NewClient(ctx, option.WithGRPCDialOption(grpc.WithChainUnaryInterceptor(recordLast)))
		if err != nil {
			return nil, fmt.Errorf("custody: connecting to Google Secret Manager (set up Application Default Credentials or Workload Identity): %w", err)
		}
		return &Client{api: api, project: cfg.Project}, nil
	}
	conn, err := dialEndpoint(cfg)
	if err != nil {
		return nil, err
	}
	api, err := secretmanager.NewClient(ctx, option.WithGRPCConn(conn))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("custody: making the Secret Manager client for %s: %w", cfg.Endpoint, err), conn.Close())
	}
	return &Client{api: api, project: cfg.Project}, nil
}

// dialEndpoint prepares a TLS connection to an endpoint of our own.
func dialEndpoint(cfg Config) (*grpc.ClientConn, error) {
	if _, _, err := net.SplitHostPort(cfg.Endpoint); err != nil {
		return nil, fmt.Errorf("custody: endpoint %q is not host:port: %w", cfg.Endpoint, err)
	}
	roots, err := roots(cfg)
	if err != nil {
		return nil, err
	}
	source := cfg.TokenSource
	switch {
	case source != nil:
	case cfg.TokenFile != "":
		source = fileTokens{cfg.TokenFile}
	default:
		return nil, fmt.Errorf("custody: endpoint %s needs a token: set the token file or a token source", cfg.Endpoint)
	}
	conn, err := grpc.NewClient(cfg.Endpoint,
		grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12})),
		grpc.WithPerRPCCredentials(callCredentials{source: source, audience: cfg.Audience, now: time.Now}),
		grpc.WithChainUnaryInterceptor(recordLast),
		// An endpoint of our own is near: no HTTP proxy on the way.
		grpc.WithNoProxy(),
		// Notice a peer that vanished without closing, and come back within
		// seconds of it returning rather than gRPC's two minutes.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 20 * time.Second, Timeout: 5 * time.Second}),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 200 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 3 * time.Second},
			MinConnectTimeout: 3 * time.Second,
		}),
	)
	if err != nil {
		return nil, fmt.Errorf("custody: preparing the connection to %s: %w", cfg.Endpoint, err)
	}
	return conn, nil
}

// roots gives the accepted authorities; nil means the system's.
func roots(cfg Config) (*x509.CertPool, error) {
	pem, from := cfg.CAPEM, "the given CA"
	if len(pem) == 0 && cfg.CAFile != "" {
		var err error
		if pem, err = os.ReadFile(cfg.CAFile); err != nil {
			return nil, fmt.Errorf("custody: reading the CA of endpoint %s: %w", cfg.Endpoint, err)
		}
		from = cfg.CAFile
	} else if len(pem) == 0 {
		return nil, nil
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("custody: %s holds no PEM certificate to trust endpoint %s with", from, cfg.Endpoint)
	}
	return pool, nil
}

// lastKey is the context key of the *error that recordLast fills.
type lastKey struct{}

// recordLast remembers the error of the last attempt of a call. The client's
// retry loop returns the bare context error when time is over in its pause,
// and an operator needs to see why it had to retry.
func recordLast(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	err := invoke(ctx, method, req, reply, cc, opts...)
	if last, ok := ctx.Value(lastKey{}).(*error); ok {
		*last = err
	}
	return err
}
