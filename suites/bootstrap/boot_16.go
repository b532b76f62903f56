package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/vault/api"
	"github.com/onsi/ginkgo/v2"

	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/fault"
	"github.com/vaultproof/vaultproof/pkg/target"
	"github.com/vaultproof/vaultproof/suites/trial"
)

const (
	// heldFor is how long a held pod is watched: a hundred times the pause of a
	// sidecar that unseals.
	heldFor = 30 * time.Second
	// releasedBudget is how long a sidecar may take to notice that a hold is gone, and
	// to unseal.
	releasedBudget = 5 * time.Second
)

var boot16 = conformance.Check{
	ID: "BOOT-16", Area: area, Level: conformance.Should,
	Assertion: "a deliberate sys/seal with a hold on the pod is left alone, and said, until the hold is taken away",
	Source:    "kelseyhightower/vault-init PR#7",
	Observe:   "sys/seal of the active pod, which alone takes it, with the annotation " + fault.HoldAnnotation + "; its sys/seal-status and its sidecar's log; then without the annotation",
	Timeout:   heldFor + 3*trial.WholeTimeout,
}

var _ = conformance.It(boot16, conformance.Chaos, func(ctx ginkgo.SpecContext, r *conformance.Case) error {
	if _, err := calmStandbys(ctx, r); err != nil { // who take over
		return err
	}
	active, err := r.Target.Active(ctx)
	if err != nil {
		return r.CannotTell(err)
	}
	pod := active.Pod.Name
	held := &fault.HeldSeal{Env: r.Faults, Pod: pod, Seal: func(ctx context.Context) error { return sealActive(ctx, r.Target) }}
	seal, err := trial.Strike(ctx, r, 1, held)
	if errors.Is(err, target.ErrNoPrivilege) {
		return r.Skip("nobody here may seal Vault: %v", err)
	}
	if err != nil {
		return err
	}
	defer seal.Report(ctx)
	if err := seal.Witness(ctx); err != nil {
		return err
	}
	if err := leftAlone(ctx, r, pod, seal.At()); err != nil {
		return err
	}
	if err := seal.Undo(ctx); err != nil {
		return err
	}
	if err := opensAgain(ctx, r, pod); err != nil {
		return err
	}
	if _, err := trial.AwaitWhole(ctx, r.Target); err != nil {
		return fmt.Errorf("%s after the hold on pod %s was taken away %w", trial.WholeTimeout, pod, err)
	}
	return nil
})

// sealActive seals the active pod, as an operator with a privileged token does. The token
// is then revoked on the pod that took over.
func sealActive(ctx context.Context, t *target.Target) error {
	return t.WithRoot(ctx, func(ctx context.Context, root *api.Client) error {
		if err := root.Sys().SealWithContext(ctx); err != nil {
			return fmt.Errorf("sys/seal of the active pod: %w", err)
		}
		return nil
	})
}

// leftAlone judges the pod and its sidecar's words while the hold lasts.
func leftAlone(ctx context.Context, r *conformance.Case, pod string, since time.Time) error {
	looks, err := stay(ctx, r, pod, heldFor)
	if err != nil {
		return err
	}
	if err := conclude(r, staysSealed(pod, looks)); err != nil {
		return fmt.Errorf("while %s was on it: %w", fault.HoldAnnotation, err)
	}
	log, err := containerLog(ctx, r.Target, pod, r.Target.SidecarContainer, since)
	if err != nil {
		return r.CannotTell(err)
	}
	return saysHeld(pod, log)
}

// saysHeld judges whether the log says that, and by what, the pod is held.
func saysHeld(pod, log string) error {
	if saysAll(log, "held", fault.HoldAnnotation) {
		return nil
	}
	return fmt.Errorf("the sidecar in pod %s leaves its Vault sealed, but no line of its log says that it is held and names the annotation %s by which that ends", pod, fault.HoldAnnotation)
}

// opensAgain times the unsealing of a pod whose hold was just taken away.
func opensAgain(ctx context.Context, r *conformance.Case, pod string) error {
	released := time.Now()
	watched, cancel := context.WithTimeout(ctx, trial.WholeTimeout)
	defer cancel()
	looks, err := r.Target.WatchSeal(watched, pod, closeEvery, target.SealLook.Open)
	if err != nil {
		return fmt.Errorf("pod %s is sealed still, %s after its hold was taken away: %w", pod, trial.WholeTimeout, err)
	}
	took := looks[len(looks)-1].At.Sub(released)
	r.Measure("unseal_ms", float64(took.Milliseconds()))
	return withinReleased(pod, took)
}

func withinReleased(pod string, took time.Duration) error {
	if took <= releasedBudget {
		return nil
	}
	return fmt.Errorf("pod %s was unsealed %s after its hold was taken away, budget %s", pod, trial.Round(took), releasedBudget)
}
