package ops

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/vaultproof/vaultproof/pkg/alert"
	"github.com/vaultproof/vaultproof/pkg/history"
	"github.com/vaultproof/vaultproof/suites/trial"
)

// served judges the load since an instant.
func (l *loss) served(ops []history.Op, since time.Time) error {
	good := 0
	for _, op := range ops {
		if time.Unix(0, op.Call).Before(since) {
			continue
		}
		if op.Outcome != history.OK {
			return fmt.Errorf("a %s at %s failed (%s) while the audit device %s of pod %s was lost and %d were not; want losing one to cost no request (audit/index.mdx)",
				op.Kind, trial.Clock(time.Unix(0, op.Call)), op.Error, l.lost, l.pod, len(l.others))
		}
		good++
	}
	if good == 0 {
		return l.r.Inconclusive("the load did not flow while the audit device %s was lost", l.lost)
	}
	return nil
}

// refusedUnrecorded judges the answer to a request that nobody could record.
func refusedUnrecorded(err error, pod string) error {
	var answer *api.ResponseError
	switch {
	case err == nil:
		return fmt.Errorf("pod %s served a request although no audit device could record it; want it refused: without a record nothing may happen (audit/index.mdx)", pod)
	case errors.As(err, &answer) && answer.StatusCode >= 500:
		return nil
	}
	return fmt.Errorf("pod %s answered a request that no audit device could record with %w; want 500", pod, err)
}

// paged judges that both losses raised their alert on the metrics of the time.
func (l *loss) paged(ctx context.Context, rules alert.Rules) error {
	recording, err := alert.Load(recordingOf(l.r), l.r.Target.Namespace)
	if err != nil {
		return l.r.CannotTell(err)
	}
	fired, err := alert.Replay(ctx, rules, recording.Series, alert.Span{From: recording.From, To: recording.To, Every: alert.Every})
	if err != nil {
		return l.r.CannotTell(err)
	}
	return errors.Join(
		pagedSince(fired, "VaultAuditDeviceFailing", l.pod, l.from, recording.Refused[l.pod]),
		pagedSince(fired, "VaultAuditBlocked", l.pod, l.blocked, recording.Refused[l.pod]))
}

// pagedSince judges that an alert of the pod was firing at some time after an
// instant. refused is why Vault's metrics could not be read, if that was so.
func pagedSince(fired []alert.Firing, name, pod string, since time.Time, refused string) error {
	for _, f := range fired {
		if f.Alert == name && f.Labels["pod"] == pod && (f.Until.IsZero() || f.Until.After(since)) {
			return nil
		}
	}
	if refused != "" {
		refused = " (the last scrape of its Vault that failed: " + refused + ")"
	}
	return fmt.Errorf("alert %s did not fire for pod %s after %s, when an audit device was lost; want a page: sys/health stays green (vault#11949)%s", name, pod, trial.Clock(since), refused)
}
