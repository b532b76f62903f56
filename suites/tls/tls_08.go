package tls

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/onsi/ginkgo/v2"
	corev1 "k8s.io/api/core/v1"

	"github.com/vaultproof/vaultproof/pkg/conformance"
)

const (
	// impostorStart is how long the impostor's pod may take to run: its images are on the
	// nodes already.
	impostorStart = 90 * time.Second
	// impostorWatch is how long its readiness is watched after the first probe: several
	// periods of any probe.
	impostorWatch = 10 * time.Second
)

var tls08 = conformance.Check{
	ID: "TLS-08", Area: area, Level: conformance.Must, Manner: conformance.Beside,
	Assertion: "probes and sidecar verify Vault's certificate: a pod whose listener has one of another CA is never ready",
	Source:    "vault-helm, server-statefulset.yaml, readinessProbe with -tls-skip-verify",
	Observe: "commands and environment of all containers; a copy of the Vault pod with a healthy impostor of another CA in Vault's place: its readiness, what it answered, " +
		"and what its sidecar says",
	Timeout: impostorStart + impostorWatch + 90*time.Second,
}

var _ = conformance.It(tls08, conformance.Conformance, func(ctx ginkgo.SpecContext, r *conformance.Case) error {
	if err := offHere(r.Target, "neither probe nor sidecar has a certificate to verify"); err != nil {
		return err
	}
	template, err := r.Target.Template(ctx)
	if err != nil {
		return r.CannotTell(err)
	}
	if err := skipsNoVerification(template.Spec); err != nil {
		return err
	}
	i, err := startImpostor(ctx, r, template)
	if err != nil {
		return err
	}
	seen, err := i.watch(ctx)
	if err != nil {
		return r.CannotTell(err)
	}
	r.Measure("impostor_answers_total", float64(seen.answered))
	r.Measure("impostor_refusals_total", float64(seen.refused))
	err = neverReady(seen)
	if errors.Is(err, errBlind) {
		return r.CannotTell(err)
	}
	return err
})

// skipsNoVerification judges what the containers are told.
func skipsNoVerification(spec corev1.PodSpec) error {
	for _, c := range append(append([]corev1.Container(nil), spec.InitContainers...), spec.Containers...) {
		for _, e := range c.Env {
			if e.Name == "VAULT_SKIP_VERIFY" && isTrue(e.Value) {
				return fmt.Errorf("container %s has VAULT_SKIP_VERIFY=%s, want Vault's certificate verified (VAULT_CACERT)", c.Name, e.Value)
			}
		}
		for where, command := range commandsOf(c) {
			text := strings.Join(command, " ")
			for _, bad := range []string{"tls-skip-verify", "--insecure", "curl -k", "no-check-certificate"} {
				if strings.Contains(text, bad) {
					return fmt.Errorf("the %s of container %s says %s, want Vault's certificate verified", where, c.Name, bad)
				}
			}
		}
	}
	return nil
}

// commandsOf are all commands of a container, by what they are for.
func commandsOf(c corev1.Container) map[string][]string {
	commands := map[string][]string{"command": append(append([]string(nil), c.Command...), c.Args...)}
	for where, probe := range map[string]*corev1.Probe{"readiness probe": c.ReadinessProbe, "liveness probe": c.LivenessProbe, "startup probe": c.StartupProbe} {
		if probe != nil && probe.Exec != nil {
			commands[where] = probe.Exec.Command
		}
	}
	if c.Lifecycle != nil {
		for where, hook := range map[string]*corev1.LifecycleHandler{"preStop hook": c.Lifecycle.PreStop, "postStart hook": c.Lifecycle.PostStart} {
			if hook != nil && hook.Exec != nil {
				commands[where] = hook.Exec.Command
			}
		}
	}
	return commands
}

// errBlind marks a judgement that had too little to judge by.
var errBlind = errors.New("this shows nothing")

// deception is what became of an impostor's pod.
type deception struct {
	// ready since when the pod counted as Ready; zero if it never did.
	ready time.Time
	// answered and refused are how many requests the impostor answered, and how many
	// clients would not speak with it.
	answered, refused int
	// sidecar is what the sidecar's log has to say; noSidecar that there is none.
	sidecar   string
	noSidecar bool
}

// neverReady judges it.
func neverReady(d deception) error {
	switch {
	case !d.ready.IsZero():
		return fmt.Errorf("a pod whose listener has a certificate of another CA became Ready at %s after it had answered %d requests, want no traffic for it: no readiness probe verifies the certificate (the kubelet's own HTTPS probes never do)",
			d.ready.UTC().Format("15:04:05"), d.answered)
	case d.answered == 0 && d.refused == 0:
		return fmt.Errorf("%w: nobody tried the impostor", errBlind)
	case d.refused == 0 && !blamesCertificate(d.sidecar):
		return fmt.Errorf("%w: the pod stayed unready, but neither did anybody refuse the certificate nor does the sidecar say that it is wrong", errBlind)
	}
	return nil
}

// blamesCertificate looks for the words of crypto/tls.
func blamesCertificate(log string) bool {
	return strings.Contains(log, "x509:") || strings.Contains(log, "certificate signed by unknown authority")
}

// watch waits until somebody has tried the impostor, and then looks at its pod for a while.
func (i *impostor) watch(ctx context.Context) (deception, error) {
	ctx, cancel := context.WithTimeout(ctx, impostorStart+impostorWatch)
	defer cancel()
	d := deception{noSidecar: i.target.SidecarContainer == ""}
	var until time.Time
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for until.IsZero() || time.Now().Before(until) {
		if err := i.look(ctx, &d); err != nil {
			return d, err
		}
		if until.IsZero() && d.answered+d.refused > 0 {
			until = time.Now().Add(impostorWatch)
		}
		if !d.ready.IsZero() {
			return d, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return d, nil // what was seen is judged
		}
	}
	return d, nil
}
