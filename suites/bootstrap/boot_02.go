package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/hashicorp/vault/api"
	"github.com/onsi/ginkgo/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/fault"
	"github.com/vaultproof/vaultproof/pkg/target"
	"github.com/vaultproof/vaultproof/suites/trial"
)

const (
	// uninitialisedFor is how long a Vault whose custody takes nothing is watched.
	uninitialisedFor = 20 * time.Second
	// firstStart is how long a first start may take once custody is whole: a pause of
	// the sidecar's, init, and each key stored and read back.
	firstStart = time.Minute
)

var boot02 = conformance.Check{
	ID: "BOOT-02", Area: area, Level: conformance.Must, Manner: conformance.Beside,
	Assertion: "custody took a write and gave it back before sys/init; while it is denied, Vault stays initialized=false",
	Source:    "bank-vaults internal/vault/operator_client.go:105, kvTester",
	Observe: "a twin of the Vault pods with empty storage, while custody denies AddSecretVersion: its sys/init and its sidecar's log; " +
		"after healing, the order of its calls in custody's log",
	Timeout: twinStart + uninitialisedFor + firstStart + 2*time.Minute,
}

var _ = conformance.It(boot02, conformance.Conformance, func(ctx ginkgo.SpecContext, r *conformance.Case) error {
	if r.CustodySwitch == nil {
		return r.Skip("this custody cannot be made to deny a write")
	}
	began := time.Now()
	outage := &fault.CustodyOutage{Switch: r.CustodySwitch, Prefix: twinPrefix(r) + "-",
		Fault: fault.CustodyFault{Mode: "deny", Method: addCall, Secret: twinPrefix(r) + "-*"}}
	denied, err := trial.Strike(ctx, r, 1, outage)
	if err != nil {
		return err
	}
	defer denied.Report(ctx)
	tw, err := startTwin(ctx, r, func(*corev1.PodSpec) {})
	if err != nil {
		return err
	}
	if err := denied.Witness(ctx); err != nil {
		return err
	}
	if err := tw.staysUninitialised(ctx, r); err != nil {
		return err
	}
	log, err := containerLog(ctx, r.Target, tw.pod.Name, r.Target.SidecarContainer, time.Time{})
	if err != nil {
		return r.CannotTell(err)
	}
	if !saysAll(log, "custody", tw.prefix+"-") {
		return fmt.Errorf("the sidecar's log says nowhere that custody denies it a secret %s-…, want the reason why Vault stays uninitialised", tw.prefix)
	}
	if err := denied.Undo(ctx); err != nil {
		return err
	}
	healed := time.Now()
	if err := tw.awaitOpen(ctx); err != nil {
		return err
	}
	r.Measure("first_start_ms", float64(time.Since(healed).Milliseconds()))
	calls, err := r.CustodySwitch.Calls(ctx, began)
	if err != nil {
		return r.CannotTell(err)
	}
	return provedBeforeKeys(calls, tw.prefix)
})

// The two calls of Secret Manager that a proof consists of.
const (
	addCall    = "AddSecretVersion"
	accessCall = "AccessSecretVersion"
)

// staysUninitialised asks the twin's Vault for uninitialisedFor.
func (tw *twin) staysUninitialised(ctx context.Context, r *conformance.Case) error {
	client, closeClient, err := tw.target.Pod(ctx, tw.pod.Name)
	if err != nil {
		return r.CannotTell(err)
	}
	defer closeClient()
	return watchInit(ctx, r, tw.pod.Name, func(ctx context.Context) (bool, error) { return initialised(ctx, client) })
}

func initialised(ctx context.Context, client *api.Client) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	return client.Sys().InitStatusWithContext(ctx)
}

// watchInit asks until uninitialisedFor is over. Only answers count: silence shows
// nothing.
func watchInit(ctx context.Context, r *conformance.Case, pod string, ask func(context.Context) (bool, error)) error {
	watched, cancel := context.WithTimeout(ctx, uninitialisedFor)
	defer cancel()
	answers, silent := 0, errors.New("it was not asked")
	var broken error
	_ = wait.PollUntilContextCancel(watched, lookEvery, true, func(ctx context.Context) (bool, error) {
		is, err := ask(ctx)
		switch {
		case err != nil:
			silent = err
		case is:
			broken = fmt.Errorf("Vault in pod %s is initialised although custody denies every write, want initialized=false: its keys have no place to go", pod)
		default:
			answers++
		}
		return broken != nil, nil
	})
	switch {
	case broken != nil:
		return broken
	case ctx.Err() != nil:
		return r.CannotTell(fmt.Errorf("watching pod %s stay uninitialised: %w", pod, context.Cause(ctx)))
	case answers < int(uninitialisedFor/lookEvery)/2:
		return r.Inconclusive("pod %s answered sys/init only %d times in %s: %w", pod, answers, uninitialisedFor, silent)
	}
	return nil
}

// awaitOpen waits until the twin's Vault is initialised and unsealed.
func (tw *twin) awaitOpen(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, firstStart)
	defer cancel()
	_, err := tw.target.WatchSeal(ctx, tw.pod.Name, lookEvery, target.SealLook.Open)
	if err != nil {
		return fmt.Errorf("%s after custody was whole again the Vault in pod %s is not initialised and unsealed: %w", firstStart, tw.pod.Name, err)
	}
	return nil
}

// provedBeforeKeys judges the calls for the secrets of prefix: before the first key was
// written, something that is no key was written and read back.
func provedBeforeKeys(calls []fault.CustodyCall, prefix string) error {
	written, proof := map[string]bool{}, ""
	for _, c := range calls {
		suffix, ours := strings.CutPrefix(c.Secret, prefix+"-")
		if !ours || c.Code != "OK" {
			continue
		}
		isKey := strings.HasPrefix(suffix, target.ShareSecret) || suffix == target.RootTokenSecret
		switch {
		case isKey && c.Method == addCall && proof == "":
			return fmt.Errorf("custody's log has %s written at %s before anything was written and read back: that custody works was not proved before sys/init", c.Secret, trial.Clock(c.At))
		case isKey && c.Method == addCall:
			return nil
		case c.Method == addCall:
			written[c.Secret] = true
		case c.Method == accessCall && written[c.Secret]:
			proof = c.Secret
		}
	}
	return fmt.Errorf("custody's log has no share of %s written although Vault is unsealed: its keys are not in custody", prefix)
}
