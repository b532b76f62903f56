// Package baseline compares a run with an earlier one: what passed then and does
// not now, and what became slower beyond the noise of both runs.
package baseline

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/vaultproof/vaultproof/pkg/report"
)

// Load reads the report of the earlier run: the path of a report.json, or of the
// directory of a run.
func Load(path string) (*report.Report, error) {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		path = filepath.Join(path, report.JSONFile)
	}
	r, err := report.Read(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("there is no baseline at %s: give the report.json of an earlier run with -baseline, or leave the flag out", path)
	case err != nil:
		return nil, fmt.Errorf("the baseline given with -baseline cannot be used: %w", err)
	case len(r.Checks) == 0:
		return nil, fmt.Errorf("the baseline %s holds no check, so that there is nothing to compare with: give the report.json of a run that came further with -baseline", path)
	}
	return r, nil
}

// Compare tells what became worse since an earlier run.
func Compare(now, then *report.Report) *report.Baseline {
	b := &report.Baseline{
		RunID: then.RunID, Started: then.Started, Verdict: then.Verdict, VaultVersion: then.Target.VaultVersion,
		Failed: []string{}, Unproved: []string{}, Unasked: []string{}, Notes: notes(now, then),
		Times: timings(now.Faults, then.Faults),
	}
	for _, before := range then.Checks {
		if before.Status != report.Passed {
			continue
		}
		i := slices.IndexFunc(now.Checks, func(c report.Check) bool { return c.ID == before.ID })
		switch {
		case i < 0 || now.Checks[i].Inapplicable:
			b.Unasked = append(b.Unasked, before.ID)
		case now.Checks[i].Status == report.Failed:
			b.Failed = append(b.Failed, before.ID)
		case now.Checks[i].Status != report.Passed:
			b.Unproved = append(b.Unproved, before.ID)
		}
	}
	for _, ids := range [][]string{b.Failed, b.Unproved, b.Unasked} {
		slices.Sort(ids)
	}
	return b
}

// notes say why times of the two runs may differ though Vault does not.
func notes(now, then *report.Report) []string {
	all := []string{}
	if now.Target.Cluster != then.Target.Cluster {
		all = append(all, fmt.Sprintf("Run %s, the baseline, was made on cluster %s and this one on %s: times may differ for that alone.",
			then.RunID, then.Target.Cluster, now.Target.Cluster))
	}
	if then.Verdict != report.Certified {
		all = append(all, fmt.Sprintf("Run %s, the baseline, was itself %s.", then.RunID, then.Verdict))
	}
	return all
}
