package suites

import (
	"errors"
	"os"
	"testing"

	"github.com/vaultproof/vaultproof/pkg/conformance"
)

// TestMain makes the verdict the exit code of the compiled suite.
func TestMain(m *testing.M) { os.Exit(conformance.Main(m)) }

// TestVault runs the suites against the Vault that the flags name:
//
//	go test ./suites/... -timeout 0 -args -kubeconfig K -profile certify
func TestVault(t *testing.T) {
	opts, err := conformance.OptionsFromFlags()
	if errors.Is(err, conformance.ErrNotAsked) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if !opts.List {
		if err := connect(t.Context(), &opts); err != nil {
			t.Fatal(err)
		}
	}
	conformance.Run(t, opts)
}
