package ops

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/onsi/ginkgo/v2"

	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/fault"
	"github.com/vaultproof/vaultproof/pkg/target"
)

var ops03 = conformance.Check{
	ID: "OPS-03", Area: area, Level: conformance.Must, Manner: conformance.Reads,
	Assertion: "custody logs every read of a share, and every one belongs to an unseal of a Vault pod or to the runner",
	Source:    "Secret Manager audit logging (AccessSecretVersion is DATA_READ); sys/unseal is not in Vault's audit log",
	Observe: "custody's access log of the last hour, joined with the times in the sidecars' logs from when Vault was found closed until \"vault unsealed\"; a read of the runner's own, which has to show up. " +
		"Unseals of pods that are gone cannot be joined: of the time before the newest pod's log only the principals are judged",
}

const (
	// reach is how far back the check looks.
	reach = time.Hour
	// skew is what the clocks of custody and of the nodes may differ by.
	skew = 5 * time.Second
	// access is the call that reads a secret.
	access = "AccessSecretVersion"
)

var _ = conformance.It(ops03, conformance.Conformance, func(ctx ginkgo.SpecContext, r *conformance.Case) error {
	if r.CustodySwitch == nil {
		return r.Skip("custody's access log cannot be read: the runner has no way into this custody")
	}
	if r.Target.SidecarContainer == "" {
		return r.Skip("the pods of StatefulSet %s have no bootstrap container", r.Target.StatefulSet)
	}
	asked := time.Now()
	share, err := r.Target.Secret(ctx, target.ShareSecret+"0")
	if err != nil {
		return r.CannotTell(err)
	}
	clear(share)
	j, err := readJoin(ctx, r.Target, asked)
	if err != nil {
		return r.CannotTell(err)
	}
	calls, err := r.CustodySwitch.Calls(ctx, asked.Add(-reach))
	if err != nil {
		return r.CannotTell(fmt.Errorf("reading custody's access log: %w", err))
	}
	j.calls = calls
	seen, err := j.judge()
	r.Measure("share_reads_total", float64(seen.reads))
	r.Measure("share_reads_joined_total", float64(seen.joined))
	r.Measure("share_reads_refused_total", float64(seen.refused))
	return err
})

// join is what is compared: custody's log and the sidecars'.
type join struct {
	prefix        string // of this Vault's secrets
	vault, runner string // principals, namespace/account
	asked         time.Time
	calls         []fault.CustodyCall
	pods          []closedTimes
}

func readJoin(ctx context.Context, t *target.Target, asked time.Time) (*join, error) {
	template, err := t.Template(ctx)
	if err != nil {
		return nil, err
	}
	pods, err := t.Pods(ctx)
	if err != nil {
		return nil, err
	}
	j := &join{
		prefix: t.CustodyPrefix, asked: asked,
		vault:  t.Namespace + "/" + cmp.Or(template.Spec.ServiceAccountName, "default"),
		runner: target.SystemNamespace + "/" + target.RunnerAccount,
	}
	for _, pod := range pods {
		closed, err := closedTimesOf(ctx, t, &pod)
		if err != nil {
			return nil, err
		}
		j.pods = append(j.pods, closed)
	}
	return j, nil
}

// known is when the logs of all pods have begun. An earlier unseal may have
// been one of a pod that is gone, with its log.
func (j *join) known() time.Time {
	var latest time.Time
	for _, p := range j.pods {
		if p.from.IsZero() {
			return j.asked // a log that says nothing
		}
		if p.from.After(latest) {
			latest = p.from
		}
	}
	return latest
}

// joined counts what a join saw: reads of shares that succeeded, those of them
// that belong to an unseal, and those that custody refused.
type joined struct{ reads, joined, refused int }

// judge compares the logs. The runner's own read has to be there, or the
// silence of custody's log means nothing.
func (j *join) judge() (joined, error) {
	var seen joined
	var control bool
	known := j.known()
	for _, call := range j.calls {
		if call.Method != access || !strings.HasPrefix(call.Secret, j.prefix+"-"+target.ShareSecret) {
			continue
		}
		if call.Code != "OK" {
			seen.refused++ // not read
			continue
		}
		seen.reads++
		switch who := principal(call.Principal); {
		case who == j.runner:
			control = control || !call.At.Before(j.asked.Add(-skew))
		case who != j.vault:
			return seen, fmt.Errorf("custody's access log has a read of %s by %q at %s, want none but by Vault's account %s and the runner %s", call.Secret, call.Principal, stamp(call.At), j.vault, j.runner)
		case j.unsealing(call.At):
			seen.joined++
		case call.At.After(known):
			return seen, fmt.Errorf("custody's access log has a read of %s by %s at %s, when no Vault pod was closed by its sidecar's log: want every read to belong to an unseal (sys/unseal is not in Vault's audit log)", call.Secret, who, stamp(call.At))
		}
	}
	if !control {
		return seen, fmt.Errorf("the runner read %s-%s0 at %s, and custody's access log of %d calls does not have it: want DATA_READ logged (Secret Manager audit logging)", j.prefix, target.ShareSecret, stamp(j.asked), len(j.calls))
	}
	return seen, nil
}

// unsealing tells whether a pod's Vault was closed then.
func (j *join) unsealing(at time.Time) bool {
	return slices.ContainsFunc(j.pods, func(p closedTimes) bool {
		return slices.ContainsFunc(p.spans, func(s span) bool { return s.holds(at) })
	})
}

// principal is a caller as namespace/account, in whichever form it is told.
func principal(s string) string {
	if rest, ok := strings.CutPrefix(s, "system:serviceaccount:"); ok {
		return strings.Replace(rest, ":", "/", 1)
	}
	return s
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
