package alert

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/vaultproof/vaultproof/pkg/leak"
	"github.com/vaultproof/vaultproof/pkg/target"
)

// Every is how long it is between two scrapes of a target. Prometheus commonly
// takes 15 s; a recording that is finer shows faults of a few seconds as well.
const Every = 5 * time.Second

// Recorder scrapes all Vault pods until it is stopped.
type Recorder struct {
	target *target.Target
	names  []string
	access *access

	stop context.CancelFunc
	over sync.WaitGroup

	mu   sync.Mutex
	file *os.File
	err  error // of the first scrape that could not be written down
}

// Start begins a recording at path of what the rules look at. Without a token for
// Vault's own metrics those of the sidecars are recorded alone, and the scrapes of
// Vault say why. The recorder lives until Stop, whatever becomes of ctx.
func Start(ctx context.Context, t *target.Target, rules Rules, path string) (_ *Recorder, err error) {
	port, err := portOfSidecar(ctx, t)
	if err != nil {
		return nil, err
	}
	pods, err := t.Pods(ctx)
	if err != nil {
		return nil, err
	}
	if len(pods) == 0 || t.SidecarContainer == "" {
		return nil, fmt.Errorf("StatefulSet %s has no pod with a sidecar whose metrics could be recorded", t.StatefulSet)
	}
	r := &Recorder{target: t, names: rules.Metrics()}
	why := ""
	if r.access, err = grant(ctx, t); err != nil {
		why = err.Error()
	}
	if r.file, err = os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644); err != nil {
		return nil, errors.Join(fmt.Errorf("making the file of recorded metrics: %w", err), r.withdraw(ctx))
	}
	lasting, stop := context.WithCancel(context.WithoutCancel(ctx))
	r.stop = stop
	for _, pod := range pods {
		s, err := newScraper(r, pod.Name, port, why)
		if err != nil {
			return nil, errors.Join(err, r.Stop(ctx))
		}
		r.over.Go(func() { s.run(lasting) })
	}
	return r, nil
}

// Secrets are what no file of a run may hold of the recorder's.
func (r *Recorder) Secrets() []leak.Needle {
	if r.access == nil {
		return nil
	}
	return []leak.Needle{{Name: "metrics-token", Value: []byte(r.access.token)}}
}

// Stop ends the recording and takes back what it had in Vault.
func (r *Recorder) Stop(ctx context.Context) error {
	r.stop()
	r.over.Wait()
	return errors.Join(r.err, r.file.Close(), r.withdraw(ctx))
}

func (r *Recorder) withdraw(ctx context.Context) error {
	if r.access == nil {
		return nil
	}
	if err := r.access.withdraw(ctx, r.target); err != nil {
		return fmt.Errorf("taking back what the recorder of metrics had in Vault: %w", err)
	}
	return nil
}

func (r *Recorder) write(s Scrape) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil {
		r.err = writer{r.file}.write(s)
	}
}

// scraper looks at one pod: its sidecar always, and its Vault while it is active.
type scraper struct {
	pod            string
	names          []string
	sidecar, vault source
	// noToken is why Vault cannot be scraped; empty if it can.
	noToken string
	write   func(Scrape)

	active, wasActive bool
}

// source gives the metrics of the names asked for.
type source interface {
	scrape(ctx context.Context, names []string) (map[string]float64, error)
	close()
}

func newScraper(r *Recorder, pod string, port int, noToken string) (*scraper, error) {
	sidecar, err := endpointOf(r.target, pod, port, "/metrics")
	if err != nil {
		return nil, err
	}
	vault, err := endpointOf(r.target, pod, target.VaultPort, "/v1/sys/metrics?format=prometheus")
	if err != nil {
		return nil, err
	}
	if r.access != nil {
		vault.token = func() string { return r.access.token }
	}
	return &scraper{pod: pod, names: r.names, sidecar: sidecar, vault: vault, noToken: noToken, write: r.write}, nil
}

func (s *scraper) run(ctx context.Context) {
	defer s.sidecar.close()
	defer s.vault.close()
	tick := time.NewTicker(Every)
	defer tick.Stop()
	for {
		s.look(ctx)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// look scrapes once. A scrape that ends with the recording is no failed one.
func (s *scraper) look(ctx context.Context) {
	at := time.Now()
	found, err := s.sidecar.scrape(ctx, s.names)
	if ctx.Err() != nil {
		return
	}
	s.write(result(SidecarJob, s.pod, at, found, err))
	if err == nil {
		s.wasActive, s.active = s.active, found["vaultproof_active"] == 1
	}
	switch {
	case s.active:
		at = time.Now()
		err = errors.New(s.noToken)
		if s.noToken == "" {
			found, err = s.vault.scrape(ctx, s.names)
		}
		if ctx.Err() == nil {
			s.write(result(VaultJob, s.pod, at, found, err))
		}
	case s.wasActive:
		s.write(Scrape{At: at, Job: VaultJob, Pod: s.pod, Gone: true})
		s.wasActive = false
	}
}

func result(job, pod string, at time.Time, found map[string]float64, err error) Scrape {
	if err != nil {
		return Scrape{At: at, Job: job, Pod: pod, Error: err.Error()}
	}
	return Scrape{At: at, Job: job, Pod: pod, Up: true, Samples: found}
}
