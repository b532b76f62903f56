package ops

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/vault/api"
	"github.com/onsi/ginkgo/v2"

	"github.com/vaultproof/vaultproof/pkg/alert"
	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/fault"
	"github.com/vaultproof/vaultproof/pkg/target"
	"github.com/vaultproof/vaultproof/suites/trial"
)

var ops04 = conformance.Check{
	ID: "OPS-04", Area: area, Level: conformance.Must,
	Assertion: "alerts fire for a sealed pod, no leader, two leaders, wrong labels, a failing audit device, a quorum at risk, and for a certificate, a token or a disk that runs out",
	Source:    "deploy/monitoring/rules.yaml; vault#11949 (health stays green); vault#10331 (label PATCH refused for ever)",
	Observe: "every rule on made-up series, one on which it fires and one on which it does not, and on the metrics that pods really exported during the run, both with Prometheus' own engine: " +
		"what the run's independent probe saw of seals and leaders for longer than a rule waits must have fired it, and nothing else may have; " +
		"if the run had no such time, a pod is sealed under a hold",
	Timeout: 15 * time.Minute,
	Last:    true,
}

const (
	// alertLatency is how long an alert may take beyond its rule's waiting time:
	// two scrapes, an evaluation, and what the clocks of probe and recorder differ.
	alertLatency = 4 * alert.Every
	// calmBefore is recorded before an own fault, so that it shows as a change.
	calmBefore = 3 * alert.Every
	// recent is how old the last scrape of a recording that goes on may be.
	recent = 3 * alert.Every
)

var _ = conformance.It(ops04, conformance.Chaos, func(ctx ginkgo.SpecContext, r *conformance.Case) error {
	rules, err := alert.Stock()
	if err != nil {
		return r.CannotTell(err)
	}
	if err := proveRules(ctx, rules); err != nil {
		return err
	}
	if r.Target.SidecarContainer == "" {
		return r.Skip("the rules are right on made-up series, and %s", noMetrics(r))
	}
	stop, err := keepRecording(ctx, r, rules)
	if err != nil {
		return r.CannotTell(err)
	}
	defer stop(ctx)
	conditions := observed(r.Log.Events())
	if !slices.ContainsFunc(conditions, func(c condition) bool { return c.demands(rules) }) {
		own, err := sealForAlerts(ctx, r, rules)
		if err != nil {
			return err
		}
		conditions = append(observed(r.Log.Events()), own)
	}
	recording, err := alert.Load(recordingOf(r), r.Target.Namespace)
	if err != nil {
		return r.CannotTell(err)
	}
	fired, err := alert.Replay(ctx, rules, recording.Series, alert.Span{From: recording.From, To: recording.To, Every: alert.Every})
	if err != nil {
		return r.CannotTell(err)
	}
	r.Measure("rules_total", float64(len(rules)))
	r.Measure("alerts_fired_total", float64(len(fired)))
	r.Note("alerts that fired in this run: %s", strings.Join(namesOf(fired), ", "))
	return errors.Join(
		sighted(recording, rules),
		rang(conditions, rules, fired),
		noFalseAlarm(conditions, watched(r.Log.Events()), fired),
		noStandingAlarm(fired))
})

// proveRules runs the cases that are shipped with the rules.
func proveRules(ctx context.Context, rules alert.Rules) error {
	cases, err := alert.StockCases()
	if err != nil {
		return err
	}
	return alert.Prove(ctx, rules, cases)
}

// noMetrics is why no rule can be judged on a target.
func noMetrics(r *conformance.Case) string {
	return fmt.Sprintf("the pods of StatefulSet %s have no sidecar that exports what they look at", r.Target.StatefulSet)
}

func recordingOf(r *conformance.Case) string { return filepath.Join(r.Dir, alert.File) }

// keepRecording makes sure that metrics are being recorded: by the run, or else by
// this check. The function returned ends what was begun here.
func keepRecording(ctx context.Context, r *conformance.Case, rules alert.Rules) (stop func(context.Context), err error) {
	if going, err := alert.Load(recordingOf(r), r.Target.Namespace); err == nil && time.Since(going.To) < recent {
		return func(context.Context) {}, nil
	}
	recorder, err := alert.Start(ctx, r.Target, rules, recordingOf(r))
	if err != nil {
		return nil, fmt.Errorf("recording metrics: %w", err)
	}
	stopped := false
	end := func(ctx context.Context) error {
		if stopped {
			return nil
		}
		stopped = true
		return recorder.Stop(ctx)
	}
	r.Defer(end)
	if err := r.Traffic.Flow(ctx, calmBefore); err != nil {
		return nil, err
	}
	return func(ctx context.Context) {
		if err := end(ctx); err != nil {
			r.Note("the recorder was not stopped as it should be: %v", err)
		}
	}, nil
}

// sealForAlerts seals the active pod under a hold for long enough.
func sealForAlerts(ctx context.Context, r *conformance.Case, rules alert.Rules) (condition, error) {
	if _, err := trial.AwaitWhole(ctx, r.Target); err != nil {
		return condition{}, r.Inconclusive("a pod is only sealed while all is well: %w", err)
	}
	active, err := r.Target.Active(ctx)
	if err != nil {
		return condition{}, r.CannotTell(err)
	}
	pod := active.Pod.Name
	blow, err := trial.Strike(ctx, r, 1, &fault.HeldSeal{Env: r.Faults, Pod: pod, Seal: func(ctx context.Context) error {
		return r.Target.WithRoot(ctx, func(ctx context.Context, root *api.Client) error { return root.Sys().SealWithContext(ctx) })
	}})
	if errors.Is(err, target.ErrNoPrivilege) {
		return condition{}, r.Skip("nothing in this run lasted long enough for an alert, and nobody here may seal Vault: %v", err)
	}
	if err != nil {
		return condition{}, err
	}
	defer blow.Report(ctx)
	if err := blow.Witness(ctx); err != nil {
		return condition{}, err
	}
	own := condition{what: "pod " + pod + " was sealed under a hold", alerts: sealAlerts, pod: pod, span: span{from: time.Now()}}
	hold := own.waits(rules) + alertLatency + alert.Every
	if err := r.Traffic.Flow(ctx, hold); err != nil {
		return own, r.CannotTell(err)
	}
	own.to = time.Now()
	if err := blow.Undo(ctx); err != nil {
		return own, err
	}
	if _, err := trial.AwaitWhole(ctx, r.Target); err != nil {
		return own, fmt.Errorf("%s after the hold on pod %s was taken away %w", trial.WholeTimeout, pod, err)
	}
	return own, nil
}

// sighted judges that every rule looks at metrics which exist.
func sighted(recording *alert.Recording, rules alert.Rules) error {
	blind := recording.Blind(rules)
	if len(blind) == 0 {
		return nil
	}
	var words []string
	for _, name := range slices.Sorted(maps.Keys(blind)) {
		words = append(words, fmt.Sprintf("%s (%s)", name, blind[name]))
	}
	why := ""
	for pod, refused := range recording.Refused {
		why = fmt.Sprintf("; the metrics of Vault in pod %s could not be read: %s", pod, refused)
	}
	return fmt.Errorf("alerts that never fire, because no pod exported the metric that their rule looks at between %s and %s: %s%s; want every metric of deploy/monitoring/rules.yaml exported",
		trial.Clock(recording.From), trial.Clock(recording.To), strings.Join(words, ", "), why)
}

// standing are alerts that no fault of a run raises: if one fires the target
// really is about to run out of something.
var standing = []string{"VaultCertificateExpiring", "VaultTokenExpiring", "VaultDiskFilling"}

func noStandingAlarm(fired []alert.Firing) error {
	for _, f := range fired {
		if slices.Contains(standing, f.Alert) {
			return fmt.Errorf("alert %s fired at %s for %s, and no fault of this run raises it: something is about to run out", f.Alert, trial.Clock(f.At), subjectOf(f))
		}
	}
	return nil
}

func subjectOf(f alert.Firing) string {
	subject := f.Labels["namespace"]
	if pod := f.Labels["pod"]; pod != "" {
		subject = "pod " + pod
	}
	if token := f.Labels["token"]; token != "" {
		subject += ", token " + token
	}
	return subject
}

func namesOf(fired []alert.Firing) []string {
	var names []string
	for _, f := range fired {
		names = append(names, f.Alert)
	}
	slices.Sort(names)
	if names = slices.Compact(names); len(names) == 0 {
		return []string{"none"}
	}
	return names
}
