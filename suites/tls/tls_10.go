package tls

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/onsi/ginkgo/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/history"
	"github.com/vaultproof/vaultproof/pkg/probe"
	"github.com/vaultproof/vaultproof/pkg/stack"
	"github.com/vaultproof/vaultproof/pkg/target"
	"github.com/vaultproof/vaultproof/suites/trial"
)

const (
	// servedWithin is how long a kubelet may take to bring a Secret to its pods, by its
	// default periods (sync 60 s and its jitter, cache 60 s), and Vault to load it.
	servedWithin = 150 * time.Second
	// hastenEvery is how often the kubelets are asked to look again.
	hastenEvery = 5 * time.Second
)

var tls10 = conformance.Check{
	ID: "TLS-10", Area: area, Level: conformance.Must,
	Assertion: "a new server certificate is served by every pod without a restart and without a failed request",
	Source:    "hashicorp/vault#10442, hashicorp/vault#5387, hashicorp/vault#12923",
	Observe:   "the Secret's certificate is renewed by the CA that clients trust; the serial number of every pod by verified handshakes, restarts, and every operation of the open-loop load of 100 a second",
	Timeout:   servedWithin + 2*trial.Calm + 2*time.Minute,
}

// There is nothing to undo: the new certificate is by the same root and lasts as long.
var _ = conformance.It(tls10, conformance.Chaos, func(ctx ginkgo.SpecContext, r *conformance.Case) error {
	switch own, err := installedByUs(ctx, r.Target); {
	case err != nil:
		return r.CannotTell(err)
	case !own:
		return r.Skip("StatefulSet %s/%s was not installed by vaultproof (no label %s=%s), and a certificate of somebody else is not renewed for a test", r.Target.Namespace, r.Target.StatefulSet, target.ManagedBy, target.ManagedByValue)
	}
	if _, err := trial.AwaitWhole(ctx, r.Target); err != nil {
		return r.Inconclusive("Vault was not whole before the renewal: %w", err)
	}
	before, err := r.Target.Pods(ctx)
	if err != nil {
		return r.CannotTell(err)
	}
	span := probe.Span{Start: time.Now()}
	if err := r.Traffic.Flow(ctx, trial.Calm); err != nil {
		return r.CannotTell(err)
	}
	span.Fault = time.Now()
	if err := noneFailed(during(r.Traffic.Ops(), span.Start, span.Fault)); err != nil {
		return r.Inconclusive("clients were in trouble before the certificate was renewed: %w", err)
	}
	leaf, err := stack.RenewCertificate(ctx, r.Target)
	if errors.Is(err, stack.ErrNoRenewal) {
		return r.Skip("%v", err)
	}
	if err != nil {
		return r.CannotTell(err)
	}
	r.Note("Secret holds the new certificate %s, serial %s", fingerprint(leaf), leaf.SerialNumber)
	spread, err := awaitServed(ctx, r, leaf, before)
	if err != nil {
		return err
	}
	span.Recovered = time.Now()
	if err := errors.Join(r.Traffic.Flow(ctx, trial.Calm), r.Traffic.Caught(ctx)); err != nil {
		return r.CannotTell(err)
	}
	span.End = time.Now()
	r.Measure("served_everywhere_ms", float64(spread.Milliseconds()))
	after, err := r.Target.Pods(ctx)
	if err != nil {
		return r.CannotTell(err)
	}
	if err := notRestarted(before, after); err != nil {
		return err
	}
	ops := during(r.Traffic.Ops(), span.Fault, span.End)
	r.Measure("operations_total", float64(len(ops)))
	r.Measure("operations_per_second", float64(len(ops))/span.End.Sub(span.Fault).Seconds())
	if err := noneFailed(ops); err != nil {
		return fmt.Errorf("while the certificate was renewed %w", err)
	}
	return r.CannotTell(enough(ops, span, r.Traffic.Rate()))
})

// installedByUs tells whether the Vault is one that vaultproof deployed.
func installedByUs(ctx context.Context, t *target.Target) (bool, error) {
	set, err := t.Client.AppsV1().StatefulSets(t.Namespace).Get(ctx, t.StatefulSet, metav1.GetOptions{})
	if err != nil {
		return false, fmt.Errorf("reading StatefulSet %s/%s: %w", t.Namespace, t.StatefulSet, err)
	}
	return set.Labels[target.ManagedBy] == target.ManagedByValue, nil
}

// awaitServed waits until every pod serves the certificate, and returns how long that took.
// All the while each pod is greeted by a client that verifies, and must never be refused.
func awaitServed(ctx context.Context, r *conformance.Case, leaf *x509.Certificate, pods []corev1.Pod) (time.Duration, error) {
	config, err := r.Target.TLS()
	if err != nil {
		return 0, r.CannotTell(err)
	}
	start := time.Now()
	ctx, cancel := context.WithTimeout(ctx, servedWithin)
	defer cancel()
	greeted := 0
	defer func() { r.Measure("handshakes_total", float64(greeted)) }()
	var hastened time.Time
	serials := map[string]*x509.Certificate{} // as each pod showed last
	for {
		if time.Since(hastened) >= hastenEvery {
			// Where that is not allowed the kubelets take their time.
			if err := stack.HastenCertificate(ctx, r.Target); err != nil {
				r.Note("the kubelets are not hastened: %v", err)
			}
			hastened = time.Now()
		}
		for _, pod := range pods {
			state, err := greet(ctx, toPod(r.Target, pod.Name, target.VaultPort), config, nil)
			switch {
			case ctx.Err() != nil:
				return 0, late(start, leaf, serials, pods)
			case isUnreachable(err): // the way there is not Vault's
				r.Note("pod %s was not reached: %v", pod.Name, err)
				continue
			case err != nil:
				return 0, fmt.Errorf("pod %s refused a client that verifies, %s after the Secret got a new certificate: %w", pod.Name, trial.Round(time.Since(start)), err)
			}
			serials[pod.Name] = state.PeerCertificates[0]
			greeted++
		}
		if everywhere(leaf, serials, pods) {
			return time.Since(start), nil
		}
		select {
		case <-time.After(100 * time.Millisecond): // the next look, not a guess how long it takes
		case <-ctx.Done():
			return 0, late(start, leaf, serials, pods)
		}
	}
}

func everywhere(leaf *x509.Certificate, seen map[string]*x509.Certificate, pods []corev1.Pod) bool {
	return !slices.ContainsFunc(pods, func(p corev1.Pod) bool { return seen[p.Name] == nil || !seen[p.Name].Equal(leaf) })
}

// late says which pods serve something else.
func late(start time.Time, leaf *x509.Certificate, seen map[string]*x509.Certificate, pods []corev1.Pod) error {
	var old []string
	for _, p := range pods {
		if cert := seen[p.Name]; cert != nil && !cert.Equal(leaf) {
			old = append(old, fmt.Sprintf("%s serves serial %s, valid until %s", p.Name, cert.SerialNumber, cert.NotAfter.UTC().Format(time.RFC3339)))
		}
	}
	if len(old) == 0 {
		old = []string{"some pod was never reached"}
	}
	return fmt.Errorf("%s after the Secret got the certificate with serial %s not every pod serves it: %s; Vault loads it on SIGHUP only, so who sends that? (hashicorp/vault#10442)",
		trial.Round(time.Since(start)), leaf.SerialNumber, strings.Join(old, ", "))
}

// notRestarted judges the pods before and after.
func notRestarted(before, after []corev1.Pod) error {
	now := map[string]corev1.Pod{}
	for _, p := range after {
		now[p.Name] = p
	}
	for _, p := range before {
		next, there := now[p.Name]
		if !there || next.UID != p.UID {
			return fmt.Errorf("pod %s was replaced while the certificate was renewed, want it served without a restart", p.Name)
		}
		for _, c := range next.Status.ContainerStatuses {
			for _, old := range p.Status.ContainerStatuses {
				if c.Name == old.Name && c.RestartCount != old.RestartCount {
					return fmt.Errorf("container %s of pod %s restarted while the certificate was renewed (%d times, before %d), want it served without a restart", c.Name, p.Name, c.RestartCount, old.RestartCount)
				}
			}
		}
	}
	return nil
}

// during are the operations that began between from and to.
func during(ops []history.Op, from, to time.Time) []history.Op {
	var chosen []history.Op
	for _, op := range ops {
		if at := time.Unix(0, op.Call); !at.Before(from) && at.Before(to) {
			chosen = append(chosen, op)
		}
	}
	return chosen
}

// noneFailed judges the operations.
func noneFailed(ops []history.Op) error {
	failed := 0
	var first history.Op
	for _, op := range ops {
		if op.Outcome != history.OK {
			if failed == 0 {
				first = op
			}
			failed++
		}
	}
	if failed == 0 {
		return nil
	}
	return fmt.Errorf("%d of %d operations failed, want none; the first, a %s at %s, ended %s: %s", failed, len(ops), first.Kind, trial.Clock(time.Unix(0, first.Call)), first.Outcome, first.Error)
}

// enough tells whether there was the load that was promised.
func enough(ops []history.Op, span probe.Span, rate float64) error {
	want := int(0.9 * rate * span.End.Sub(span.Fault).Seconds())
	if len(ops) < want {
		return fmt.Errorf("%w: %d operations while the certificate was renewed, want at least %d", probe.ErrTraffic, len(ops), want)
	}
	return nil
}
