package main

import (
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/vaultproof/vaultproof/bootstrap/keys"
	"github.com/vaultproof/vaultproof/bootstrap/machine"
	"github.com/vaultproof/vaultproof/bootstrap/objectstore"
	"github.com/vaultproof/vaultproof/bootstrap/snapshot"
	"github.com/vaultproof/vaultproof/bootstrap/status"
	"github.com/vaultproof/vaultproof/bootstrap/vault"
)

// snapshots say where snapshots go, and how often. Their token is in custody only
// where they are taken.
type snapshots struct {
	url, endpoint string
	every         time.Duration
	keep          int
}

func (s *snapshots) flags(fs *flag.FlagSet) {
	fs.StringVar(&s.url, "snapshot-url", "", "where the active pod stores snapshots of Vault's data: file:///path, on a volume that all pods share, or gs://bucket/prefix; empty means that none are taken")
	fs.StringVar(&s.endpoint, "snapshot-endpoint", "", "address of another server with the API of Cloud Storage, as http://host:port; empty means Google's")
	fs.DurationVar(&s.every, "snapshot-every", time.Hour, "how often a snapshot is taken; 0 means never, and leaves -snapshot-url to \"bootstrap restore\"")
	fs.IntVar(&s.keep, "snapshot-keep", 24, "how many snapshots are kept; older ones are deleted after a new one was read back")
}

// on tells whether snapshots are taken.
func (s *snapshots) on() bool { return s.url != "" && s.every > 0 }

func (s *snapshots) check() error {
	switch {
	case s.endpoint != "" && !strings.HasPrefix(s.url, "gs://"):
		return fmt.Errorf("-snapshot-endpoint is where a bucket is, and -snapshot-url %q names none: set that to gs://bucket/prefix, or leave the endpoint out", s.url)
	case s.url == "":
		return nil
	case s.every < 0 || (s.every > 0 && s.every < time.Second):
		return fmt.Errorf("-snapshot-every %s is too often: use 1s or more, or 0 for never", s.every)
	case s.keep < 1:
		return errors.New("-snapshot-keep must be at least 1: the newest snapshot is never deleted")
	}
	if _, err := s.open(); err != nil {
		return fmt.Errorf("-snapshot-url or -snapshot-endpoint: %w", err)
	}
	return nil
}

func (s *snapshots) open() (objectstore.Store, error) {
	return objectstore.Open(objectstore.Options{URL: s.url, Endpoint: s.endpoint})
}

// taker takes the snapshots; nil if there are to be none.
func (s *snapshots) taker(own *vault.Client, ring *keys.Ring, board *status.Board, log *slog.Logger) (*snapshot.Taker, error) {
	if !s.on() {
		return nil, nil
	}
	store, err := s.open()
	if err != nil {
		return nil, err
	}
	return snapshot.New(snapshot.Options{
		Source: snapshot.Of(own), Tokens: snapshot.CustodyToken{Ring: ring, Secret: ring.Snapshot()}, Store: store,
		Every: s.every, Keep: s.keep, Log: log,
		Report: func(r snapshot.Report) {
			board.SetSnapshot(status.Snapshot{Name: r.Last.Name, At: r.Last.At, SizeBytes: r.Last.Size, LastError: r.Error, Next: r.Next.UTC()})
		},
	}), nil
}

// worthTaking tells whether this pod's Vault has something to take a snapshot of.
// It is active, its storage is not that of a restore that has not ended, and its
// tokens were seen to once, or could not be.
func worthTaking(f machine.Facts) bool {
	return f.Role == machine.Active && f.Fresh == "" && (f.Provisioned || f.Provision.Kind != "")
}
