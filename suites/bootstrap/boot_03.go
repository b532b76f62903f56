package bootstrap

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/onsi/ginkgo/v2"

	"github.com/vaultproof/vaultproof/fixtures/lab"
	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/suites/labpod"
)

const (
	// matrixFile holds the crash matrix, in the run's directory.
	matrixFile = "crash-matrix.json"
	// matrixTimeout bounds the crash matrix: less than three minutes on two cores that
	// are free, and several times that beside a cluster.
	matrixTimeout = 25 * time.Minute
)

var boot03 = conformance.Check{
	ID: "BOOT-03", Area: area, Level: conformance.Must, Manner: conformance.Apart,
	Assertion: "crash-safe: whenever the sidecar is killed in a first start, and however custody is then, Vault ends unsealed with all shares in custody",
	Source:    "vault-init main.go:239-313; bank-vaults pkg/kv/gcs/gcs.go:41-56",
	Observe: "in a pod of its own, real Vaults with this sidecar's failpoint build, killed before and after every step and every write to custody, " +
		"each with custody healthy, denied, unavailable and slow; then, with custody's shares alone, Vault restarted and opened for each moment, and in the other modes a root token made of them",
	Timeout: matrixTimeout,
}

var _ = conformance.It(boot03, conformance.Conformance, func(ctx ginkgo.SpecContext, r *conformance.Case) error {
	if r.Target.SidecarContainer == "" {
		return r.Skip("the pods of StatefulSet %s have no bootstrap container", r.Target.StatefulSet)
	}
	build, err := sidecarBuild(ctx, r.Target)
	if err != nil {
		return r.CannotTell(err)
	}
	raw, err := labpod.Run(ctx, r, "matrix")
	if err != nil {
		return r.CannotTell(err)
	}
	if err := os.WriteFile(filepath.Join(r.Dir, matrixFile), raw, 0o644); err != nil {
		return r.CannotTell(fmt.Errorf("keeping the crash matrix: %w", err))
	}
	var m lab.Matrix
	if err := json.Unmarshal(raw, &m); err != nil {
		return r.CannotTell(fmt.Errorf("reading the crash matrix: %w", err))
	}
	r.Measure("crash_moments_total", float64(len(m.Moments)))
	r.Measure("crash_cells_total", float64(len(m.Cells)))
	r.Measure("crash_cells_kept_total", float64(m.Count(lab.Kept)))
	r.Measure("crash_cells_lost_total", float64(m.Count(lab.Lost)))
	r.Measure("crash_matrix_seconds", m.Seconds)
	r.Measure("crash_matrix_cpu_seconds", m.CPUSeconds)
	err = noneLost(build, m)
	if errors.Is(err, errUnproved) {
		return r.CannotTell(err)
	}
	return err
})

// unstamped is what a sidecar says that was not built by this project's images.
const unstamped = "unknown"

// errUnproved says that a crash matrix shows nothing about the sidecar under test.
var errUnproved = errors.New("the crash matrix does not prove it")

// noneLost judges the crash matrix of a sidecar that was built from build.
func noneLost(build string, m lab.Matrix) error {
	if build == "" || build == unstamped || m.Build != build {
		return fmt.Errorf("%w: the sidecar in the Vault pods was built from %q, and the one that was crashed from %q; build the images anew and deploy both", errUnproved, build, m.Build)
	}
	err := m.Judge()
	if errors.Is(err, lab.ErrIncomplete) {
		return fmt.Errorf("%w: %w", errUnproved, err)
	}
	if err != nil {
		return fmt.Errorf("%w; all cells are in %s", err, matrixFile)
	}
	return nil
}
