// Package connect holds the flags that say where Vault and custody are, which
// all of the sidecar's subcommands share, and the rule by which every flag can
// be set in the environment instead.
package connect

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/url"
	"os"
	"strings"

	"github.com/vaultproof/vaultproof/bootstrap/vault"
	"github.com/vaultproof/vaultproof/pkg/custody"
)

// Options say where Vault and custody are.
type Options struct {
	VaultAddr, VaultCA, VaultServerName string
	Endpoint, Project, Audience         string // of custody
	CA, TokenFile                       string // files for custody
	Prefix                              string // of all secret names
}

// Flags adds a flag for each of the options.
func (o *Options) Flags(fs *flag.FlagSet) {
	fs.StringVar(&o.VaultAddr, "vault-addr", "https://127.0.0.1:8200", "address of the Vault in this pod; https and loopback only")
	fs.StringVar(&o.VaultCA, "vault-ca", "/vault/tls/ca.crt", "file with the CA (PEM) of Vault's certificate")
	fs.StringVar(&o.VaultServerName, "vault-server-name", "localhost", "name that Vault's certificate must bear")
	fs.StringVar(&o.Endpoint, "custody-endpoint", "", "host:port of the Secret Manager server; empty means Google's")
	fs.StringVar(&o.Project, "custody-project", "", "project that holds the secrets")
	fs.StringVar(&o.Audience, "custody-audience", "", "audience of the token for custody")
	fs.StringVar(&o.CA, "custody-ca", "", "file with the CA (PEM) of the custody endpoint; the system's if the file does not exist")
	fs.StringVar(&o.TokenFile, "custody-token-file", "/var/run/secrets/custody/token", "file with the service-account token for custody")
	fs.StringVar(&o.Prefix, "custody-prefix", "vault", "prefix of all secret names")
}

// Parse reads args into fs. A flag that is not given falls back to the
// environment variable of its name in capitals (-pod-name to POD_NAME), then to
// its default.
func Parse(fs *flag.FlagSet, args []string, env func(string) (string, bool)) error {
	if err := fs.Parse(args); err != nil {
		return fmt.Errorf("reading the command line: %w", err)
	}
	if fs.NArg() > 0 {
		return fmt.Errorf("unknown argument %q: all options are flags, see -help", fs.Arg(0))
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
	return errors.Join(errs...)
}

// Check tells what is missing.
func (o Options) Check() error {
	switch {
	case o.Project == "":
		return errors.New("no custody project: set -custody-project to the project that holds the secrets")
	case o.Prefix == "":
		return errors.New("the custody prefix is empty: set -custody-prefix, for example to vault")
	}
	return nil
}

// Vault is a client of the own pod's Vault.
func (o Options) Vault() (*vault.Client, error) {
	return vault.New(o.VaultAddr, o.VaultCA, o.VaultServerName)
}

// Peers are clients of the Vaults in the other pods, by pod name. addresses are those of
// all pods, by host name and with commas between; pod is the own one.
func (o Options) Peers(pod, addresses string) (map[string]*vault.Client, error) {
	peers := map[string]*vault.Client{}
	for _, addr := range List(addresses) {
		u, err := url.Parse(addr)
		if err != nil {
			return nil, fmt.Errorf("peer address %q in -peers: %w", addr, err)
		}
		name, _, _ := strings.Cut(u.Hostname(), ".")
		if name == pod {
			continue
		}
		if peers[name], err = vault.NewPeer(addr, o.VaultCA); err != nil {
			return nil, err
		}
	}
	return peers, nil
}

// List splits the value of a flag at commas and drops what is empty.
func List(s string) []string {
	var out []string
	for part := range strings.SplitSeq(s, ",") {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}

// Custody connects to where the keys are kept. The caller closes it.
func (o Options) Custody(ctx context.Context) (*custody.Client, error) {
	ca := o.CA
	if _, err := os.Stat(ca); errors.Is(err, os.ErrNotExist) {
		ca = ""
	}
	return custody.Dial(ctx, custody.Config{Project: o.Project, Endpoint: o.Endpoint, CAFile: ca, TokenFile: o.TokenFile, Audience: o.Audience})
}
