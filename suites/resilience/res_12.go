package resilience

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/onsi/ginkgo/v2"

	"github.com/vaultproof/vaultproof/pkg/alert"
	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/fault"
	"github.com/vaultproof/vaultproof/pkg/history"
	"github.com/vaultproof/vaultproof/pkg/target"
	"github.com/vaultproof/vaultproof/suites/trial"
)

const (
	// fullFor is how long the disk stays full: several scrapes of the metrics.
	fullFor = 6 * alert.Every
	// fullMargin is how much longer than that its node waits before it makes room
	// itself.
	fullMargin = 20 * time.Second
)

// diskAlerts are those of the stack that tell of a disk or of what a full one does: to
// the audit device, to the pod, to the quorum that counts on it.
var diskAlerts = []string{
	"VaultDiskFilling", "VaultAuditDeviceFailing", "VaultAuditBlocked", "VaultRefusesRequests", "VaultQuorumAtRisk",
	"VaultSilent", "VaultSealed", "VaultNotReady",
}

var res12 = conformance.Check{
	ID: "RES-12", Area: area, Level: conformance.Should,
	Assertion: "an active Vault whose data and audit disks are full acknowledges no write, another one takes over within its budget, an alert tells, and all is well when there is room again",
	Source:    "hashicorp/vault#3725, #18943, #11949",
	Observe:   "no byte to write for the active's processes; load through the active Service; the alert rules, without their waiting time, on the metrics recorded meanwhile",
	Timeout:   10 * time.Minute,
}

var _ = conformance.It(res12, conformance.Chaos, func(ctx ginkgo.SpecContext, r *conformance.Case) error {
	rules, err := alert.Stock()
	if err != nil {
		return r.CannotTell(err)
	}
	var full time.Time // when it was proved to be
	return once(ctx, r, trial.Plan{
		Make: func(_ context.Context, _ []target.PodState, active target.PodState) (fault.Fault, error) {
			return &fault.DiskFull{Env: r.Faults, Pod: active.Pod.Name, Duration: fullFor + fullMargin}, nil
		},
		Hold: func(ctx context.Context, hit trial.Struck) error {
			full = time.Now()
			return trial.FlowUntil(ctx, r, hit.At.Add(fullFor))
		},
		Outage: r.Budget,
	}, func(res trial.Result) error {
		if err := trial.TookOver(res); err != nil {
			return err
		}
		if err := failedClosed(res, full, reelected(res, res.Elected()), r.Traffic.Ops()); err != nil {
			return err
		}
		if r.Target.SidecarContainer == "" {
			return r.Skip("a full disk is survived, but the pods of StatefulSet %s have no sidecar whose metrics could tell", r.Target.StatefulSet)
		}
		fired, err := wouldFire(ctx, r, rules, res)
		if err != nil {
			return r.CannotTell(err)
		}
		return told(res, fired)
	})
})

// failedClosed judges that the pod acknowledged no write that was asked for while it had
// no room for one, until it was active again by right.
func failedClosed(res trial.Result, full, until time.Time, ops []history.Op) error {
	for _, op := range ops {
		called := time.Unix(0, op.Call)
		changes := op.Kind == history.Write || op.Kind == history.Append
		if !changes || op.Outcome != history.OK || op.Pod != res.Active || called.Before(full) || called.After(res.Undone) || called.After(until) {
			continue
		}
		return fmt.Errorf("pod %s acknowledged a change (%s) at %s, %s after its disk was proved to be full; want nothing acknowledged that it cannot keep (hashicorp/vault#3725)",
			res.Active, op.Kind, trial.Clock(called), trial.Round(called.Sub(full)))
	}
	return nil
}

// wouldFire replays the alert rules on what the run recorded during the fault. A rule
// that waits for minutes is taken to fire as soon as it holds: the fault lasts half of one.
func wouldFire(ctx context.Context, r *conformance.Case, rules alert.Rules, res trial.Result) ([]alert.Firing, error) {
	recording, err := alert.Load(filepath.Join(r.Dir, alert.File), r.Target.Namespace)
	if err != nil {
		return nil, err
	}
	if recording.To.Before(res.Undone) {
		return nil, fmt.Errorf("the metrics were recorded until %s only, and the disk was full until %s", trial.Clock(recording.To), trial.Clock(res.Undone))
	}
	rules = slices.Clone(rules)
	for i := range rules {
		rules[i].For = 0
	}
	return alert.Replay(ctx, rules, recording.Series, alert.Span{From: res.At.Add(-2 * alert.Every), To: res.Undone, Every: alert.Every})
}

// told judges whether an alert began during the fault that tells of it.
func told(res trial.Result, fired []alert.Firing) error {
	var others []string
	for _, f := range fired {
		if !slices.Contains(diskAlerts, f.Alert) || f.At.Before(res.At) {
			others = append(others, f.Alert)
			continue
		}
		return nil
	}
	return fmt.Errorf("no alert told that the disk of pod %s was full from %s to %s (rules that held: [%s]); want one of %s",
		res.Active, trial.Clock(res.At), trial.Clock(res.Undone), strings.Join(others, ", "), strings.Join(diskAlerts, ", "))
}
