package ops

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/hashicorp/vault/api"
	"github.com/onsi/ginkgo/v2"

	"github.com/vaultproof/vaultproof/pkg/alert"
	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/fault"
	"github.com/vaultproof/vaultproof/pkg/probe"
	"github.com/vaultproof/vaultproof/pkg/report"
	"github.com/vaultproof/vaultproof/pkg/target"
	"github.com/vaultproof/vaultproof/pkg/timeline"
	"github.com/vaultproof/vaultproof/suites/trial"
)

var ops01 = conformance.Check{
	ID: "OPS-01", Area: area, Level: conformance.Must,
	Assertion: "there are two audit devices; losing one costs no request, losing all fails closed, and both page",
	Source:    "audit/index.mdx; vault#11949 (health stays green); vault#18943, vault#3725 (a device that is full)",
	Observe: "sys/audit with a root token that is revoked; a request of a name of its own, looked for in every device; then, on the active pod, a folder in the place of the file device's file and a SIGHUP, while the load flows; " +
		"then the other devices disabled for a moment; the alerts on the metrics of that time",
	Timeout: 5 * time.Minute,
}

const (
	// brokenFor is after how many seconds a broken file heals by itself, should the
	// run die: longer than it is ever kept broken.
	brokenFor = 60
	// lossHeld is how long one device is lost: several scrapes of the metrics.
	lossHeld = 4 * alert.Every
	// recordedWithin is how long a record may take to be readable.
	recordedWithin = 10 * time.Second
	// mendTimeout bounds putting everything back.
	mendTimeout = 30 * time.Second
)

var _ = conformance.It(ops01, conformance.Chaos, func(ctx ginkgo.SpecContext, r *conformance.Case) error {
	rules, err := alert.Stock()
	if err != nil {
		return r.CannotTell(err)
	}
	if _, err := trial.AwaitWhole(ctx, r.Target); err != nil {
		return r.Inconclusive("an audit device is only broken while all is well: %w", err)
	}
	watched := r.Target.SidecarContainer != ""
	if watched {
		stop, err := keepRecording(ctx, r, rules)
		if err != nil {
			return r.CannotTell(err)
		}
		defer stop(ctx)
	}
	l := &loss{r: r}
	err = r.Target.WithRoot(ctx, l.run)
	if errors.Is(err, target.ErrNoPrivilege) {
		return r.Skip("sys/audit cannot be read: %v", err)
	}
	if err != nil {
		return err
	}
	if !watched {
		return r.Skip("losing audit devices went as it should, but whether it pages cannot be seen: %s", noMetrics(r))
	}
	if err := r.Traffic.Flow(ctx, 2*alert.Every); err != nil { // the counters after the loss are scraped
		return r.CannotTell(err)
	}
	return l.paged(ctx, rules)
})

// loss takes the audit devices of the active pod away, first one, then all.
type loss struct {
	r    *conformance.Case
	pod  string
	root *api.Client

	all    []device
	lost   device   // the one whose file is broken
	others []device // all but that one

	from, blocked, until time.Time // one was lost, all were, none is
}

func (l *loss) run(ctx context.Context, root *api.Client) (err error) {
	active, err := l.r.Target.Active(ctx)
	if err != nil {
		return l.r.CannotTell(err)
	}
	l.root, l.pod = root, active.Pod.Name
	if l.all, err = devices(ctx, root); err != nil {
		return l.r.CannotTell(err)
	}
	l.r.Measure("audit_devices_total", float64(len(l.all)))
	if err := redundant(l.all); err != nil {
		return err
	}
	if err := l.recorded(ctx, l.all); err != nil {
		return err
	}
	i := slices.IndexFunc(l.all, func(d device) bool { return d.file() != "" })
	if i < 0 {
		return l.r.Skip("no audit device writes a file in Vault's container, so that none can be broken from here")
	}
	l.lost, l.others = l.all[i], slices.Delete(slices.Clone(l.all), i, i+1)
	return l.lose(ctx)
}

// lose breaks the file, and puts everything back however it ends.
func (l *loss) lose(ctx context.Context) (err error) {
	l.from = time.Now()
	l.note("injecting")
	broken, err := breakFile(ctx, l.r.Target, l.pod, l.lost.file(), brokenFor)
	if err != nil {
		return l.r.CannotTell(err)
	}
	l.note("injected")
	defer func() {
		mend, cancel := context.WithTimeout(context.WithoutCancel(ctx), mendTimeout)
		defer cancel()
		if mendErr := l.mend(mend, broken); mendErr != nil {
			err = errors.Join(err, l.r.Inconclusive("the audit devices were not put back: %w", mendErr))
		}
	}()
	witness, err := l.witness(ctx)
	if err != nil {
		return err
	}
	if err := l.oneLost(ctx); err != nil {
		return err
	}
	err = l.allLost(ctx)
	if mendErr := l.mend(ctx, broken); mendErr != nil {
		return errors.Join(err, l.r.Inconclusive("the audit devices were not put back: %w", mendErr))
	}
	l.report(ctx, witness)
	if err != nil {
		return err
	}
	return l.recorded(ctx, l.all)
}

func (l *loss) note(state string) {
	l.r.Log.Append(timeline.Event{Kind: timeline.Fault, Subject: ops01.ID + "#1", Value: state, Detail: "audit-loss of " + l.pod})
}

// oneLost judges that nobody notices.
func (l *loss) oneLost(ctx context.Context) error {
	since := time.Now()
	if err := l.recorded(ctx, l.others); err != nil {
		return fmt.Errorf("while the audit device %s of pod %s was lost: %w", l.lost, l.pod, err)
	}
	if err := l.r.Traffic.Flow(ctx, lossHeld); err != nil {
		return l.r.CannotTell(err)
	}
	if err := l.r.Traffic.Caught(ctx); err != nil {
		return l.r.CannotTell(err)
	}
	return l.served(l.r.Traffic.Ops(), since)
}

// allLost disables the other devices and judges that nothing is served unrecorded.
// The answer to the last disabling is refused already: it cannot be recorded.
func (l *loss) allLost(ctx context.Context) error {
	l.blocked = time.Now()
	for _, d := range l.others {
		_ = l.root.Sys().DisableAuditWithContext(ctx, d.path)
	}
	name := canaryName()
	err := l.request(ctx, "cubbyhole/"+name)
	return refusedUnrecorded(err, l.pod)
}

// mend heals the file and enables what was disabled. It can be repeated.
func (l *loss) mend(ctx context.Context, broken *brokenFile) error {
	if err := broken.heal(ctx); err != nil {
		return err
	}
	if l.until.IsZero() {
		l.until = time.Now()
		l.note("recovered")
	}
	return l.await(ctx, func(ctx context.Context) (bool, error) {
		have, err := devices(ctx, l.root)
		if err != nil {
			return false, err
		}
		for _, d := range l.all {
			if slices.ContainsFunc(have, func(h device) bool { return h.path == d.path }) {
				continue
			}
			if err := d.enable(ctx, l.root); err != nil {
				return false, err
			}
		}
		return true, nil
	})
}

// report puts the fault into the report, with what clients suffered when all was lost.
func (l *loss) report(ctx context.Context, witness fault.Witness) {
	_ = l.r.Traffic.Caught(ctx) // what came late is missing in the outage alone
	outage := probe.Outage(l.r.Log.Events(), l.blocked, time.Now())
	l.r.Measure("blocked_outage_ms", math.Round(outage.MS()))
	l.r.Fault(report.Fault{
		ID: ops01.ID + "#1", Check: ops01.ID, Kind: "audit-loss", Target: l.pod, InjectedAt: l.from,
		Witness: witness.Evidence, WitnessedAt: witness.At, RecoveredAt: l.until, OutageMS: outage.MS(),
	})
}
