package status

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"

	"github.com/vaultproof/vaultproof/bootstrap/vault"
)

// lookTimeout bounds what is looked at for one question. It is shorter than the two
// seconds that the kubelet waits for /readyz.
const lookTimeout = 1500 * time.Millisecond

var (
	certificateDesc = describe("certificate_ttl_seconds", "Seconds until the certificate that Vault serves lapses.")
	storageFreeDesc = describe("storage_free_bytes", "Bytes that Vault can still write to its data volume.")
	storageSizeDesc = describe("storage_size_bytes", "Size of Vault's data volume.")
)

// Vault is the own pod's, as it shows itself over a connection that was made for the
// question: one that is kept goes on under the certificate that it began with.
type Vault interface {
	SealStatus(ctx context.Context) (vault.Seal, error)
	Certificate(ctx context.Context) (*x509.Certificate, error)
}

// Surroundings are what is looked at when somebody asks, beside what the machine has
// learnt.
type Surroundings struct {
	Vault Vault
	// StorageDir is a folder of Vault's data volume; empty if that cannot be seen.
	StorageDir string
}

// Surround has /readyz and /metrics look around.
func (b *Board) Surround(s Surroundings) {
	b.mu.Lock()
	b.around = s
	b.mu.Unlock()
	b.metrics.registry.MustRegister(s)
}

// unready says why this pod must get no traffic: its Vault, reached over TLS that is
// verified, does not answer, is not open, or is open without its data. Nothing else
// counts, above all not custody, so that trouble there takes no pod out of service.
func (b *Board) unready(ctx context.Context) error {
	b.mu.Lock()
	around, restore := b.around, b.status.Restore
	b.mu.Unlock()
	if around.Vault == nil {
		return errors.New("the sidecar has just started")
	}
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	s, err := around.Vault.SealStatus(ctx)
	switch {
	case err != nil:
		return err
	case !s.Initialised:
		return errors.New("Vault is not initialised")
	case s.Removed:
		return errors.New("Vault was removed from its raft cluster")
	case s.Sealed:
		return errors.New("Vault is sealed")
	case restore:
		return errors.New("Vault is open in the middle of a restore, without its data")
	}
	return nil
}

// Describe implements prometheus.Collector.
func (s Surroundings) Describe(out chan<- *prometheus.Desc) {
	out <- certificateDesc
	out <- storageFreeDesc
	out <- storageSizeDesc
}

// Collect implements prometheus.Collector. What cannot be seen is left out.
func (s Surroundings) Collect(out chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64) { out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v) }
	ctx, cancel := context.WithTimeout(context.Background(), lookTimeout) // the collector gets none
	defer cancel()
	if leaf, err := s.Vault.Certificate(ctx); err == nil {
		gauge(certificateDesc, time.Until(leaf.NotAfter).Seconds())
	}
	if fs, err := s.storage(); err == nil {
		gauge(storageFreeDesc, float64(fs.Bavail)*float64(fs.Bsize))
		gauge(storageSizeDesc, float64(fs.Blocks)*float64(fs.Bsize))
	}
}

func (s Surroundings) storage() (fs unix.Statfs_t, err error) {
	if err := unix.Statfs(s.StorageDir, &fs); err != nil {
		return fs, fmt.Errorf("looking at the volume of %s: %w", s.StorageDir, err)
	}
	return fs, nil
}
