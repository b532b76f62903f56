package conformance

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/vaultproof/vaultproof/pkg/alert"
	"github.com/vaultproof/vaultproof/pkg/baseline"
	"github.com/vaultproof/vaultproof/pkg/fault"
	"github.com/vaultproof/vaultproof/pkg/leak"
	"github.com/vaultproof/vaultproof/pkg/report"
	"github.com/vaultproof/vaultproof/pkg/target"
	"github.com/vaultproof/vaultproof/pkg/timeline"
)

// TimelineFile holds the raw events of a run, in its directory.
const TimelineFile = "timeline.ndjson"

// session is one run of the suite. Ginkgo's specs are registered before there
// is one and find it through current.
type session struct {
	opts               Options
	seed               int64
	runID, dir         string
	started            time.Time
	required, selected []string
	budgets            Budgets
	baseline           *report.Report // nil where there is nothing to compare with

	log     *timeline.Log
	journal *fault.Journal
	target  *target.Target
	faults  *fault.Env
	about   report.Target
	metrics *alert.Recorder // nil where there is nothing to record

	bundleOnce sync.Once
	bundleErr  error

	crew      *crew
	deafAfter time.Duration

	trafficOnce sync.Once
	traffic     *Traffic
	trafficErr  error

	shared shelf

	mu          sync.Mutex
	results     map[string]report.Check
	injected    []report.Fault
	broken      []string
	interrupted string
	secrets     []leak.Needle // what no file of the run may hold
}

var current *session

// newSession checks the options and opens the run's directory, so that whatever
// happens next has a place to be written down.
func newSession(opts Options) (*session, error) {
	s := &session{opts: opts, started: time.Now(), results: map[string]report.Check{}, deafAfter: deafAfter}
	s.seed = opts.seed(s.started)
	var err error
	if s.required, err = demanded(opts.Profile, Checks()); err != nil {
		return nil, err
	}
	// What is asked for by name runs, though the profile does not demand it.
	if s.selected, err = chosen(s.required, opts.RunChecks, Checks()); err != nil {
		return nil, err
	}
	if s.budgets, err = LoadBudgets(opts.Budgets); err != nil {
		return nil, err
	}
	if opts.Baseline != "" {
		if s.baseline, err = baseline.Load(opts.Baseline); err != nil {
			return nil, err
		}
	}
	s.runID = runID(s.started)
	s.dir = filepath.Join(opts.Artifacts, s.runID)
	if err := os.MkdirAll(s.dir, 0o755); err != nil {
		return nil, fmt.Errorf("the run has no place to write to (%w): free some space, or choose a directory with -artifacts", err)
	}
	file, err := os.Create(filepath.Join(s.dir, TimelineFile))
	if err != nil {
		return nil, fmt.Errorf("the run has no place to write to (%w): free some space, or choose a directory with -artifacts", err)
	}
	s.log = timeline.New(file)
	if s.journal, err = fault.OpenJournal(filepath.Join(s.dir, fault.JournalFile), s.runID); err != nil {
		return nil, err
	}
	return s, nil
}

// runID is the UTC time with a few random digits: sortable, unique, and fit for
// a label.
func runID(now time.Time) string {
	var tail [2]byte
	_, _ = rand.Read(tail[:]) // never fails
	return now.UTC().Format("20060102t150405") + "-" + hex.EncodeToString(tail[:])
}

// setUp finds the target, undoes what earlier runs left and makes sure that the
// user may do what is needed. Its error means that nothing can be tested.
func (s *session) setUp(ctx context.Context) error {
	// Without this controller-runtime prints a stack trace to say that it has
	// no logger.
	ctrllog.SetLogger(logr.FromSlogHandler(slog.Default().Handler()))
	config, err := s.opts.restConfig()
	if err != nil {
		return err
	}
	s.target, err = target.Find(ctx, config, target.Options{
		Namespace: s.opts.Namespace, ClusterName: s.opts.ClusterName, CustodyEndpoint: s.opts.CustodyEndpoint,
		File: s.opts.TargetFile,
	})
	if err != nil {
		return err
	}
	needed := slices.Concat(s.target.ReadPermissions(), s.target.ChangePermissions())
	if err := s.target.MustAllow(ctx, needed); err != nil {
		return err
	}
	means := fault.Means{Power: s.opts.Power}
	means.Versions, _ = s.target.Custody.(fault.Versions)
	if _, err := fault.Recover(ctx, config, s.opts.Artifacts, means); err != nil && !errors.Is(err, fault.ErrStripped) {
		return fmt.Errorf("undoing what an earlier run left behind: %w", err)
	}
	if s.opts.CustodySwitch != nil {
		if err := s.opts.CustodySwitch.Heal(ctx); err != nil {
			return fmt.Errorf("ending the faults of custody that an earlier run left: %w", err)
		}
	}
	s.faults, err = fault.NewEnv(config, s.target.Namespace, s.target.Container, s.runID, s.journal)
	if err != nil {
		return err
	}
	s.learnSecrets(ctx)
	s.recordMetrics(ctx)
	s.about, err = describe(ctx, s.target)
	if err != nil {
		return fmt.Errorf("describing the target: %w", err)
	}
	return s.narrow(Checks())
}

// learnSecrets reads what no file of the run may hold. Without custody there is
// nothing to compare with, and the report's own filter of tokens has to do.
func (s *session) learnSecrets(ctx context.Context) {
	needles, err := s.target.Needles(ctx)
	if err != nil {
		slog.Warn("what is collected can only be searched for the usual forms of Vault tokens", "reason", err.Error())
		return
	}
	s.keepSecret(needles...)
}

// recordMetrics records what alert rules look at, for the whole run.
func (s *session) recordMetrics(ctx context.Context) {
	rules, err := alert.Stock()
	if err == nil {
		s.metrics, err = alert.Start(ctx, s.target, rules, filepath.Join(s.dir, alert.File))
	}
	if err != nil {
		slog.Warn("the metrics of this run are not recorded", "reason", err.Error())
		return
	}
	s.keepSecret(s.metrics.Secrets()...)
}

// stopMetrics ends the recording.
func (s *session) stopMetrics(ctx context.Context) error {
	if s.metrics == nil {
		return nil
	}
	return s.metrics.Stop(ctx)
}

func (s *session) keepSecret(needles ...leak.Needle) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.secrets = append(s.secrets, needles...)
}

func (s *session) record(c report.Check) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.results[c.ID] = c
}

// result of a check; false if it has none.
func (s *session) result(id string) (report.Check, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.results[id]
	return c, ok
}

func (s *session) addFault(f report.Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.injected = append(s.injected, f)
}

func (s *session) amendFaults(edit func(*report.Fault)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.injected {
		edit(&s.injected[i])
	}
}

// breakDown records that the cluster or the tooling failed, which outweighs
// every result.
func (s *session) breakDown(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Contains(s.broken, what) {
		s.broken = append(s.broken, what)
	}
}

// describe collects what the report says of the target.
func describe(ctx context.Context, t *target.Target) (report.Target, error) {
	about := report.Target{Cluster: t.ClusterName, Namespace: t.Namespace, KubernetesVersion: t.Kubernetes.GitVersion}
	versions, err := t.Versions(ctx)
	if err != nil {
		return about, err
	}
	about.VaultVersion, about.Images = versions.Vault, versions.Images
	about.Found, about.Unseen = t.Found(), t.Unseen()
	nodes, err := t.Nodes(ctx)
	if err != nil {
		return about, err
	}
	for _, n := range nodes {
		about.Nodes = append(about.Nodes, report.Node{Name: n.Name, Role: roleOf(n.Labels), Zone: n.Labels[target.ZoneLabel]})
	}
	return about, nil
}

// roleOf says in a word what a node is for, by its labels.
func roleOf(labels map[string]string) string {
	if dedicated := labels["dedicated"]; dedicated != "" {
		return dedicated
	}
	if role := labels["vaultproof.dev/role"]; role != "" {
		return role
	}
	for label := range labels {
		if role, ok := strings.CutPrefix(label, "node-role.kubernetes.io/"); ok && role != "" {
			return role
		}
	}
	return "worker"
}
