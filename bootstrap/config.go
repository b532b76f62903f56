package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/vaultproof/vaultproof/bootstrap/failpoint"
	"github.com/vaultproof/vaultproof/bootstrap/handover"
	"github.com/vaultproof/vaultproof/bootstrap/keys"
	"github.com/vaultproof/vaultproof/bootstrap/policies"
	"github.com/vaultproof/vaultproof/bootstrap/provision"
	"github.com/vaultproof/vaultproof/bootstrap/sidecar"
	"github.com/vaultproof/vaultproof/bootstrap/vault"
	"github.com/vaultproof/vaultproof/pkg/custody"
)

// config is the command line.
type config struct {
	vaultAddr, vaultCA, vaultServerName string
	custodyEndpoint, custodyProject     string
	custodyAudience, custodyCA          string
	custodyTokenFile, prefix            string
	pod, peers                          string
	shares, threshold                   int
	listen, tlsCert, tlsKey             string
	period, stopGrace                   time.Duration
	auditFiles, policyDir               string
	handoverDone                        string
	keepRoot                            bool
	logLevel                            slog.Level
}

// parse reads flags; one that is not given falls back to the environment
// variable of its name in capitals (-pod-name to POD_NAME), then to a default.
func parse(args []string, env func(string) (string, bool)) (config, error) {
	var c config
	fs := flag.NewFlagSet("bootstrap", flag.ContinueOnError)
	fs.StringVar(&c.vaultAddr, "vault-addr", "https://127.0.0.1:8200", "address of the Vault in this pod; https and loopback only")
	fs.StringVar(&c.vaultCA, "vault-ca", "/vault/tls/ca.crt", "file with the CA (PEM) of Vault's certificate")
	fs.StringVar(&c.vaultServerName, "vault-server-name", "localhost", "name that Vault's certificate must bear")
	fs.StringVar(&c.custodyEndpoint, "custody-endpoint", "", "host:port of the Secret Manager server; empty means Google's")
	fs.StringVar(&c.custodyProject, "custody-project", "", "project that holds the secrets")
	fs.StringVar(&c.custodyAudience, "custody-audience", "", "audience of the token for custody")
	fs.StringVar(&c.custodyCA, "custody-ca", "", "file with the CA (PEM) of the custody endpoint; the system's if the file does not exist")
	fs.StringVar(&c.custodyTokenFile, "custody-token-file", "/var/run/secrets/custody/token", "file with the service-account token for custody")
	fs.StringVar(&c.prefix, "custody-prefix", "vault", "prefix of all secret names")
	fs.StringVar(&c.pod, "pod-name", "", "name of this pod, ending in its ordinal")
	fs.StringVar(&c.peers, "peers", "", "comma-separated https addresses of all Vault pods, by host name; an empty Vault is not initialised while one of them has data")
	fs.IntVar(&c.shares, "shares", 5, "shares that the seal key is split into")
	fs.IntVar(&c.threshold, "threshold", 3, "shares that unseal")
	fs.StringVar(&c.listen, "listen", ":8210", "address for /healthz, /readyz and /status, over HTTPS")
	fs.StringVar(&c.tlsCert, "tls-cert", "/vault/tls/tls.crt", "file with the pod's certificate")
	fs.StringVar(&c.tlsKey, "tls-key", "/vault/tls/tls.key", "file with the key of the pod's certificate")
	fs.DurationVar(&c.period, "provisioner-period", 24*time.Hour, "period of the provisioner token and the handover token, which are renewed after a third of it")
	fs.DurationVar(&c.stopGrace, "stop-grace", 20*time.Second, "how long SIGTERM waits for keys that custody does not have yet")
	fs.StringVar(&c.auditFiles, "audit-files", "", "comma-separated paths in Vault's container, or stdout, that get an audit device")
	fs.StringVar(&c.policyDir, "policy-dir", "", "folder with admin.hcl, provisioner.hcl and handover.hcl, instead of the built-in ones")
	fs.StringVar(&c.handoverDone, "handover-done", handover.DefaultDone, "file that tells Vault's preStop hook that leadership was handed over, in a volume that both containers share")
	fs.BoolVar(&c.keepRoot, "keep-root-token", true, "leave the root token in custody alive")
	fs.TextVar(&c.logLevel, "log-level", slog.LevelInfo, "debug, info, warn or error")
	failpoint.Flags(fs)
	if err := fs.Parse(args); err != nil {
		return c, fmt.Errorf("reading the command line: %w", err)
	}
	if fs.NArg() > 0 {
		return c, fmt.Errorf("unknown argument %q: all options are flags, see -help", fs.Arg(0))
	}
	given := map[string]bool{}
	fs.Visit(func(f *flag.Flag) { given[f.Name] = true })
	var errs []error
	fs.VisitAll(func(f *flag.Flag) {
		name := strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		if v, ok := env(name); ok && v != "" && !given[f.Name] {
			if err := fs.Set(f.Name, v); err != nil {
				errs = append(errs, fmt.Errorf("environment variable %s: %w", name, err))
			}
		}
	})
	return c, errors.Join(append(errs, c.check())...)
}

func (c *config) check() error {
	switch {
	case c.custodyProject == "":
		return errors.New("no custody project: set -custody-project to the project that holds the secrets")
	case c.prefix == "":
		return errors.New("the custody prefix is empty: set -custody-prefix, for example to vault")
	case c.threshold < 1 || c.shares < c.threshold || (c.shares > 1 && c.threshold < 2):
		return fmt.Errorf("%d shares with a threshold of %d make no seal: Vault wants 2 <= threshold <= shares, or one of each", c.shares, c.threshold)
	case c.period < 30*time.Second:
		return fmt.Errorf("a provisioner period of %s is too short to renew in: use 30s or more", c.period)
	}
	_, err := ordinal(c.pod)
	return err
}

// ordinal of a StatefulSet's pod: only 0 initialises.
func ordinal(pod string) (int, error) {
	i := strings.LastIndexByte(pod, '-')
	n, err := strconv.Atoi(pod[i+1:])
	if i < 1 || err != nil || n < 0 {
		return 0, fmt.Errorf("pod name %q does not end in an ordinal: set -pod-name from the downward API, in a StatefulSet", pod)
	}
	return n, nil
}

// options connects everything; the returned function closes custody.
func (c *config) options(ctx context.Context, log *slog.Logger) (sidecar.Options, func(), error) {
	fail := func(err error) (sidecar.Options, func(), error) { return sidecar.Options{}, nil, err }
	hcl, err := policies.Load(c.policyDir)
	if err != nil {
		return fail(err)
	}
	own, err := vault.New(c.vaultAddr, c.vaultCA, c.vaultServerName)
	if err != nil {
		return fail(err)
	}
	peers, err := c.peerClients()
	if err != nil {
		return fail(err)
	}
	store, err := c.custody(ctx)
	if err != nil {
		return fail(err)
	}
	ring := &keys.Ring{Store: store, Prefix: c.prefix, Shares: c.shares}
	n, _ := ordinal(c.pod) // checked by parse
	return sidecar.Options{
		Pod: c.pod, Ordinal: n, Shares: c.shares, Threshold: c.threshold,
		Vault: own, Peers: peers, Ring: ring, Log: log,
		Provisioner: &provision.Provisioner{Vault: own, Ring: ring, Policies: hcl, Period: c.period,
			AuditFiles: list(c.auditFiles), KeepRoot: c.keepRoot, Log: log},
	}, func() { _ = store.Close() }, nil
}

// custody connects to where the keys are kept.
func (c *config) custody(ctx context.Context) (*custody.Client, error) {
	ca := c.custodyCA
	if _, err := os.Stat(ca); errors.Is(err, os.ErrNotExist) {
		ca = ""
	}
	return custody.Dial(ctx, custody.Config{Project: c.custodyProject, Endpoint: c.custodyEndpoint,
		CAFile: ca, TokenFile: c.custodyTokenFile, Audience: c.custodyAudience})
}

func (c *config) peerClients() (map[string]*vault.Client, error) {
	peers := map[string]*vault.Client{}
	for _, addr := range list(c.peers) {
		u, err := url.Parse(addr)
		if err != nil {
			return nil, fmt.Errorf("peer address %q in -peers: %w", addr, err)
		}
		pod, _, _ := strings.Cut(u.Hostname(), ".")
		if pod == c.pod {
			continue
		}
		if peers[pod], err = vault.NewPeer(addr, c.vaultCA); err != nil {
			return nil, err
		}
	}
	return peers, nil
}

// list splits at commas and drops what is empty.
func list(s string) []string {
	var out []string
	for _, part := range strings.Split(s, ",") {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}
