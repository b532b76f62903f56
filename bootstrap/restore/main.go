// Package restore brings a snapshot up in an empty cluster, whose custody still
// holds the shares of the Vault that the snapshot was taken of.
//
// It runs beside the empty Vault of ordinal 0, in the sidecar's container:
//
//  1. the storage is locked, so that the sidecar keeps its hands off;
//  2. the snapshot is fetched to the volume, checked, and held against the
//     shares in custody: up to here nothing was changed;
//  3. the storage is marked as begun for a restore, and Vault initialised with
//     keys that are nowhere but in memory, and as many shares as the snapshot's
//     Vault has (Vault remembers the number until it restarts);
//  4. the snapshot is loaded. Vault does not have its keys, and seals itself;
//  5. the mark is removed, and Vault unsealed with the shares in custody.
//
// Raft's configuration is the new cluster's: ordinal 0 alone. The others are
// empty and join by themselves. One that asked to join before step 5 is out of
// step: it would ask again only after a minute or more, so its pod is restarted.
//
// If this process dies before step 5, the mark makes the sidecar have the
// storage emptied, and the restore can be run again. If it dies in step 5, the
// sidecar does the rest of it.
package restore

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"path"
	"strings"
	"time"

	"github.com/vaultproof/vaultproof/bootstrap/connect"
	"github.com/vaultproof/vaultproof/bootstrap/failpoint"
	"github.com/vaultproof/vaultproof/bootstrap/keys"
	"github.com/vaultproof/vaultproof/bootstrap/kube"
	"github.com/vaultproof/vaultproof/bootstrap/objectstore"
	"github.com/vaultproof/vaultproof/bootstrap/snapshot"
	"github.com/vaultproof/vaultproof/bootstrap/storage"
)

// latest stands for the newest snapshot.
const latest = "latest"

// config is the command line.
type config struct {
	connect.Options
	from, place, endpoint string
	pod, peers            string
	storageDir, kubeToken string
	shares, threshold     int
	timeout               time.Duration
}

// Main restores one snapshot. It takes the sidecar's flags and variables that
// say where Vault, custody and the snapshots are, and logs what it does.
func Main(ctx context.Context, args []string, env func(string) (string, bool), log *slog.Logger) error {
	c, err := parse(args, env)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	place, name := c.split()
	store, err := objectstore.Open(objectstore.Options{URL: place, Endpoint: c.endpoint})
	if err != nil {
		return err
	}
	own, err := c.Vault()
	if err != nil {
		return err
	}
	peers, err := c.Peers(c.pod, c.peers)
	if err != nil {
		return err
	}
	dir, err := storage.Open(c.storageDir)
	if err != nil {
		return err
	}
	keep, err := c.Custody(ctx)
	if err != nil {
		return err
	}
	defer keep.Close()
	if name == latest {
		if name, err = snapshot.Latest(ctx, store); err != nil {
			return err
		}
	}
	r := &restore{vault: own, peers: peers, restart: c.restarter(env, log), dir: dir, folder: c.storageDir, store: store, name: name, log: log,
		ring: &keys.Ring{Store: keep, Prefix: c.Prefix, Shares: c.shares}, threshold: c.threshold, hit: failpoint.Hit}
	return r.run(ctx)
}

func parse(args []string, env func(string) (string, bool)) (config, error) {
	var c config
	fs := flag.NewFlagSet("bootstrap restore", flag.ContinueOnError)
	c.Flags(fs)
	fs.StringVar(&c.from, "from", "", "snapshot to restore: its URL (file:///path/name or gs://bucket/prefix/name), or its name in -snapshot-url; latest for the newest there")
	fs.StringVar(&c.place, "snapshot-url", "", "where snapshots are kept: file:///path or gs://bucket/prefix")
	fs.StringVar(&c.endpoint, "snapshot-endpoint", "", "address of another server with the API of Cloud Storage, as http://host:port; empty means Google's")
	fs.StringVar(&c.pod, "pod-name", "", "name of this pod, ending in its ordinal, which must be 0")
	fs.StringVar(&c.peers, "peers", "", "comma-separated https addresses of all Vault pods, by host name; nothing is restored while one of them has data")
	fs.StringVar(&c.storageDir, "storage-dir", "", "the sidecar's folder on the volume of Vault's data; must have room for the snapshot")
	fs.StringVar(&c.kubeToken, "kube-token-file", kube.DefaultTokenFile, "file with the token for the Kubernetes API, with ca.crt and namespace beside it; if there is none, other pods may take longer to join")
	fs.IntVar(&c.shares, "shares", 5, "shares that custody holds")
	fs.IntVar(&c.threshold, "threshold", 3, "shares that unseal, if the snapshot does not tell")
	fs.DurationVar(&c.timeout, "timeout", 30*time.Minute, "how long all of it may take")
	failpoint.Flags(fs)
	if err := connect.Parse(fs, args, env); err != nil {
		return c, err
	}
	return c, c.check()
}

func (c config) check() error {
	switch {
	case c.from == "":
		return errors.New("no snapshot to restore: set -from to its URL or name, or to latest")
	case c.place == "" && !strings.Contains(c.from, "://"):
		return fmt.Errorf("-from %s is no URL, so -snapshot-url must tell where that is", c.from)
	case !strings.HasSuffix(c.pod, "-0"):
		return fmt.Errorf("this is pod %q: a restore begins in the pod of ordinal 0, which the others join; run it there, or set -pod-name", c.pod)
	case c.storageDir == "":
		return errors.New("no folder for the storage markers: set -storage-dir as the sidecar has it, without it a restore that is cut short could not be told from a Vault with data")
	case c.shares < 1 || c.threshold < 1 || c.threshold > c.shares:
		return fmt.Errorf("%d shares with a threshold of %d make no seal: set -shares and -threshold to what the sidecar has", c.shares, c.threshold)
	}
	return c.Check()
}

// split gives the place of the snapshot and its name there.
func (c config) split() (place, name string) {
	if !strings.Contains(c.from, "://") {
		return c.place, c.from
	}
	name = path.Base(c.from)
	return strings.TrimSuffix(c.from, "/"+name), name
}
