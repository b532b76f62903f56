package bootstrap

import (
	"errors"
	"strings"
	"testing"

	"github.com/vaultproof/vaultproof/fixtures/lab"
)

// wholeMatrix is a matrix in which nothing was lost.
func wholeMatrix() lab.Matrix {
	m := lab.Matrix{Build: "b1", Modes: lab.Modes, Moments: []string{lab.FromTheStart}}
	for _, key := range []string{"root-token", "unseal-share-0", "unseal-share-1", "unseal-share-2", "unseal-share-3", "unseal-share-4"} {
		m.Moments = append(m.Moments, "before-add-vault-"+key, "after-add-vault-"+key)
	}
	for _, moment := range m.Moments {
		for _, mode := range m.Modes {
			m.Cells = append(m.Cells, lab.Cell{Moment: moment, Mode: mode, Outcome: lab.Kept, Seconds: 3})
		}
	}
	return m
}

func TestNoneLost(t *testing.T) {
	if err := noneLost("b1", wholeMatrix()); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		spoil    func(*lab.Matrix)
		unproved bool
		want     string
	}{
		"a lost cell": {func(m *lab.Matrix) {
			m.Cells[7].Outcome, m.Cells[7].Reason = lab.Lost, "Vault stays sealed"
		}, false, "1 of 52 crashes lost the cluster, the first: before-add-vault-root-token, custody slow: Vault stays sealed"},
		"a lost cell among missing ones": {func(m *lab.Matrix) {
			m.Cells = m.Cells[:3]
			m.Cells[2].Outcome = lab.Lost
		}, false, "1 of 3 crashes"},
		"a cell that was never filled in": {func(m *lab.Matrix) { m.Cells[9] = lab.Cell{} }, false, "lost"},
		"a missing cell":                  {func(m *lab.Matrix) { m.Cells = m.Cells[1:] }, true, "0 cells for " + lab.FromTheStart},
		"a cell twice":                    {func(m *lab.Matrix) { m.Cells[1] = m.Cells[0] }, true, "2 cells for"},
		"no cells":                        {func(m *lab.Matrix) { m.Cells = nil }, true, "0 cells for"},
		"nothing at all":                  {func(m *lab.Matrix) { *m = lab.Matrix{Build: "b1"} }, true, "there is no crash before-add-vault-root-token"},
		"a mode left out":                 {func(m *lab.Matrix) { m.Modes = m.Modes[:1]; m.Cells = m.Cells[:1] }, true, "0 cells for"},
		"no crash after a share's write": {func(m *lab.Matrix) {
			m.Moments[len(m.Moments)-1] = "after-unseal"
		}, true, "there is no crash after-add-vault-unseal-share-4"},
		"a crash that never came": {func(m *lab.Matrix) {
			m.Cells[3].Outcome, m.Cells[3].Reason = lab.Unreached, "the sidecar never came to the moment"
		}, true, "never came"},
		"another build":  {func(m *lab.Matrix) { m.Build = "b2" }, true, `"b2"`},
		"unknown builds": {func(m *lab.Matrix) { m.Build = "" }, true, `""`},
	} {
		m := wholeMatrix()
		c.spoil(&m)
		err := noneLost("b1", m)
		if err == nil || errors.Is(err, errUnproved) != c.unproved || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v; want %q, unproved %t", name, err, c.want, c.unproved)
		}
	}
	for _, unknown := range []string{"", unstamped} {
		m := wholeMatrix()
		m.Build = unknown
		if err := noneLost(unknown, m); !errors.Is(err, errUnproved) {
			t.Errorf("two builds %q count as the same: %v", unknown, err)
		}
	}
}
