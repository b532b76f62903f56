package main

import (
	"flag"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/vaultproof/vaultproof/bootstrap/connect"
	"github.com/vaultproof/vaultproof/bootstrap/failpoint"
	"github.com/vaultproof/vaultproof/bootstrap/handover"
	"github.com/vaultproof/vaultproof/bootstrap/kube"
	"github.com/vaultproof/vaultproof/bootstrap/registrar"
)

// config is the command line.
type config struct {
	connect.Options
	pod, peers                string
	shares, threshold         int
	listen, tlsCert, tlsKey   string
	period, maxAge, stopGrace time.Duration
	shedAfter                 time.Duration
	auditFiles, policyDir     string
	handoverDone              string
	storageDir, kubeTokenFile string
	fence, keepRoot           bool
	registrar                 string
	snapshots                 snapshots
	logLevel                  slog.Level
}

// parse reads the flags of the sidecar, and what is not given from env.
func parse(args []string, env func(string) (string, bool)) (config, error) {
	var c config
	fs := flag.NewFlagSet("bootstrap", flag.ContinueOnError)
	c.Flags(fs)
	fs.StringVar(&c.pod, "pod-name", "", "name of this pod, ending in its ordinal")
	fs.StringVar(&c.peers, "peers", "", "comma-separated https addresses of all Vault pods, by host name; an empty Vault is not initialised while one of them has data")
	fs.IntVar(&c.shares, "shares", 5, "shares that the seal key is split into")
	fs.IntVar(&c.threshold, "threshold", 3, "shares that unseal")
	fs.StringVar(&c.listen, "listen", ":8210", "address for /healthz, /readyz and /status, over HTTPS")
	fs.StringVar(&c.tlsCert, "tls-cert", "/vault/tls/tls.crt", "file with the pod's certificate")
	fs.StringVar(&c.tlsKey, "tls-key", "/vault/tls/tls.key", "file with the key of the pod's certificate")
	fs.DurationVar(&c.period, "provisioner-period", 24*time.Hour, "period of the provisioner token and the other tokens in custody, which are renewed after a third of it")
	fs.DurationVar(&c.maxAge, "provisioner-max-age", 30*24*time.Hour, "age at which the provisioner token is replaced by a new one; 0 means never")
	fs.DurationVar(&c.stopGrace, "stop-grace", 20*time.Second, "how long SIGTERM waits for keys that custody does not have yet")
	fs.DurationVar(&c.shedAfter, "shed-after", 5*time.Second, "how long after the last use of a secret the process executes itself anew, to be rid of copies in its memory; 0 means never")
	fs.StringVar(&c.auditFiles, "audit-files", "", "comma-separated paths in Vault's container, or stdout, that get an audit device")
	fs.StringVar(&c.policyDir, "policy-dir", "", "folder with admin.hcl, provisioner.hcl, handover.hcl and snapshot.hcl, instead of the built-in ones")
	fs.StringVar(&c.handoverDone, "handover-done", handover.DefaultDone, "file that tells Vault's preStop hook that leadership was handed over, in a volume that both containers share")
	fs.StringVar(&c.storageDir, "storage-dir", "", "folder for two marker files on the volume of Vault's data; with it, a Vault whose keys were lost before it was ever opened is emptied and initialised again")
	fs.StringVar(&c.kubeTokenFile, "kube-token-file", kube.DefaultTokenFile, "file with the token for the Kubernetes API, with ca.crt and namespace beside it; if there is none, no hold is seen and no label kept right")
	fs.BoolVar(&c.fence, "fence", true, "beside the active Vault, correct the label vault-active of all Vault pods")
	fs.StringVar(&c.registrar, "registrar-listen", "", "loopback address where Vault's service registration is answered in place of the API server; empty if Vault labels its pod itself")
	fs.BoolVar(&c.keepRoot, "keep-root-token", false, "leave the root token in custody alive, instead of revoking it when all is provisioned")
	c.snapshots.flags(fs)
	fs.TextVar(&c.logLevel, "log-level", slog.LevelInfo, "debug, info, warn or error")
	failpoint.Flags(fs)
	if err := connect.Parse(fs, args, env); err != nil {
		return c, err
	}
	return c, c.check()
}

func (c *config) check() error {
	if err := c.Check(); err != nil {
		return err
	}
	switch {
	case c.threshold < 1 || c.shares < c.threshold || (c.shares > 1 && c.threshold < 2):
		return fmt.Errorf("%d shares with a threshold of %d make no seal: Vault wants 2 <= threshold <= shares, or one of each", c.shares, c.threshold)
	case c.period < 30*time.Second:
		return fmt.Errorf("a provisioner period of %s is too short to renew in: use 30s or more", c.period)
	}
	if c.maxAge < 0 || (c.maxAge > 0 && c.maxAge < c.period) {
		return fmt.Errorf("a provisioner token of %s would be replaced before its first period of %s is over: raise -provisioner-max-age, or set it to 0", c.maxAge, c.period)
	}
	if c.registrar != "" {
		if err := registrar.CheckAddress(c.registrar); err != nil {
			return err
		}
	}
	if err := c.snapshots.check(); err != nil {
		return err
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
