package bootstrap

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/onsi/ginkgo/v2"

	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/fault"
	"github.com/vaultproof/vaultproof/pkg/target"
	"github.com/vaultproof/vaultproof/suites/trial"
)

const (
	// lostFor is how long a pod whose shares are lost is watched: many times the
	// pause between two attempts of a sidecar that only an admin can help.
	lostFor = 10 * time.Second
	// wholeAgain is how long Vault may take to be whole once the shares are back.
	wholeAgain = 30 * time.Second
)

var boot05 = conformance.Check{
	ID: "BOOT-05", Area: area, Level: conformance.Must,
	Assertion: "custody lost: no re-init, the pod is not Ready, and a message names the secrets that are missing",
	Source:    "bank-vaults#352; hashicorp/vault#5795",
	Observe:   "versions of too many shares disabled, then a standby restarted: its seal, its readiness and its sidecar's log; cluster_id and versions in custody before and after",
	Timeout:   answerTimeout + lostFor + wholeAgain + trial.WholeTimeout + 2*time.Minute,
}

var _ = conformance.It(boot05, conformance.Conformance, func(ctx ginkgo.SpecContext, r *conformance.Case) error {
	standbys, err := calmStandbys(ctx, r)
	if err != nil {
		return err
	}
	pod, cluster := standbys[0].Pod.Name, standbys[0].ClusterID
	before, err := r.Target.CustodyVersions(ctx)
	if err != nil {
		return r.CannotTell(err)
	}
	loss, err := lossFor(ctx, r, pod)
	if err != nil {
		return err
	}
	lost, err := trial.Strike(ctx, r, 1, loss)
	if err != nil {
		return err
	}
	defer lost.Report(ctx)
	if err := lost.Witness(ctx); err != nil {
		return err
	}
	if err := staysLost(ctx, r, pod, loss.Secrets); err != nil {
		return err
	}
	if err := lost.Undo(ctx); err != nil {
		return err
	}
	restored := time.Now()
	again, cancel := context.WithTimeout(ctx, wholeAgain)
	defer cancel()
	states, err := r.Target.AwaitWhole(again)
	if err != nil {
		return fmt.Errorf("%s after the shares were readable again %w", wholeAgain, err)
	}
	r.Measure("whole_again_ms", float64(time.Since(restored).Milliseconds()))
	if err := sameCluster(states, cluster); err != nil {
		return err
	}
	after, err := r.Target.CustodyVersions(ctx)
	if err != nil {
		return r.CannotTell(err)
	}
	return sameVersions(pod, before, after)
})

// lossFor is the loss of as many shares as leave too few to unseal.
func lossFor(ctx context.Context, r *conformance.Case, pod string) (*fault.CustodyLoss, error) {
	store, can := r.Target.Custody.(fault.Versions)
	if !can {
		return nil, r.Skip("this custody cannot disable versions and enable them again")
	}
	names, err := r.Target.CustodySecrets(ctx)
	if err != nil {
		return nil, r.CannotTell(err)
	}
	looks, err := r.Target.WatchSeal(ctx, pod, lookEvery, target.SealLook.Open)
	if err != nil {
		return nil, r.CannotTell(err)
	}
	status := looks[len(looks)-1].Status
	shares := slices.DeleteFunc(names, func(n string) bool { return !strings.HasPrefix(n, r.Target.CustodyPrefix+"-"+target.ShareSecret) })
	lost, err := tooMany(shares, status.T, r.Rand)
	if err != nil {
		return nil, r.Skip("%v", err)
	}
	return &fault.CustodyLoss{Custody: store, Journal: r.Faults.Journal, Secrets: lost}, nil
}

// tooMany picks, by the seed, the fewest shares whose loss leaves less than threshold.
func tooMany(shares []string, threshold int, random *rand.Rand) ([]string, error) {
	if threshold < 1 || len(shares) < threshold {
		return nil, fmt.Errorf("custody holds %d shares for a threshold of %d: Vault does not unseal from them", len(shares), threshold)
	}
	shares = slices.Clone(shares)
	random.Shuffle(len(shares), func(i, j int) { shares[i], shares[j] = shares[j], shares[i] })
	lost := shares[:len(shares)-threshold+1]
	slices.Sort(lost)
	return lost, nil
}

// staysLost restarts the pod and judges it while its shares are lost.
func staysLost(ctx context.Context, r *conformance.Case, pod string, lost []string) error {
	if err := replacePod(ctx, r, pod); err != nil {
		return err
	}
	looks, err := stay(ctx, r, pod, lostFor)
	if err != nil {
		return err
	}
	if err := conclude(r, staysSealed(pod, looks)); err != nil {
		return err
	}
	isReady, err := ready(ctx, r.Target, pod)
	if err != nil {
		return r.CannotTell(err)
	}
	if isReady {
		return fmt.Errorf("pod %s is Ready although its Vault is sealed for lack of shares, want Ready=false", pod)
	}
	log, err := containerLog(ctx, r.Target, pod, r.Target.SidecarContainer, time.Time{})
	if err != nil {
		return r.CannotTell(err)
	}
	return namesAll(pod, log, lost)
}

// namesAll judges whether one message of a log names every secret that is missing.
func namesAll(pod, log string, lost []string) error {
	if saysAll(log, lost...) {
		return nil
	}
	var unnamed []string
	for _, name := range lost {
		if !saysAll(log, name) {
			unnamed = append(unnamed, name)
		}
	}
	if len(unnamed) == 0 {
		return fmt.Errorf("no single message of the sidecar in pod %s names all of the lost secrets %s, so an admin cannot see what is missing", pod, strings.Join(lost, ", "))
	}
	return fmt.Errorf("the sidecar's log in pod %s does not name the lost secret %s, want a message that says what is missing", pod, strings.Join(unnamed, ", "))
}

// sameCluster judges the cluster_id of all pods against that from before.
func sameCluster(states []target.PodState, before string) error {
	for _, s := range states {
		if s.ClusterID != before {
			return fmt.Errorf("pod %s tells cluster_id %s, it was %s: Vault was initialised again (bank-vaults#352)", s.Pod.Name, s.ClusterID, before)
		}
	}
	return nil
}
