package baseline

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vaultproof/vaultproof/pkg/report"
)

// machine is a cluster whose faults take random times with a long tail. The
// phases of one recovery follow one another, so its times go together.
type machine struct {
	random *rand.Rand
	checks int
	// slower stretches what a check of that number takes.
	slower map[int]float64
}

func (m machine) run(trials int) *report.Report {
	r := &report.Report{
		Schema: report.Schema, RunID: "run", Verdict: report.Certified,
		Checks: []report.Check{{ID: "RES-01", Level: report.Must, Status: report.Passed}},
	}
	for check := range m.checks {
		id := fmt.Sprintf("RES-%02d", check+1)
		stretch := 1.0
		if s, is := m.slower[check]; is {
			stretch = s
		}
		for trial := range trials {
			took := func(ms float64) *float64 {
				return report.MS(ms * stretch * math.Exp(0.35*m.random.NormFloat64()))
			}
			elected := took(1800)
			then := func(ms float64) *float64 { return report.MS(*elected + *took(ms)) }
			f := report.Fault{
				ID: fmt.Sprintf("%s#%d", id, trial+1), Check: id, Kind: "process-kill", Witness: "another uid",
				Phases: report.Phases{Detected: took(40), Elected: elected, Labelled: then(120), Routed: then(200), FirstWrite: then(260), Unsealed: took(5000)},
			}
			f.OutageMS = *f.Phases.FirstWrite - *f.Phases.Detected
			r.Faults = append(r.Faults, f)
		}
	}
	return r
}

func slower(b *report.Baseline) []string {
	var found []string
	for _, t := range b.Times {
		if t.Outcome == report.Slower {
			found = append(found, t.Check+" "+t.What)
		}
	}
	return found
}

// TestNoiseAloneIsNoRegression compares runs of the same machine, many times.
func TestNoiseAloneIsNoRegression(t *testing.T) {
	for _, size := range []struct{ then, now, runs int }{{5, 5, 300}, {8, 8, 300}, {20, 5, 200}, {20, 20, 15}, {40, 40, 40}} {
		alarms := 0
		for seed := range size.runs {
			m := machine{random: rand.New(rand.NewPCG(uint64(seed), 9)), checks: 8}
			if b := Compare(m.run(size.now), m.run(size.then)); len(slower(b)) > 0 {
				alarms++
				t.Logf("seed %d: %v", seed, slower(b))
			}
		}
		// 5 % are promised for a machine that became slower by the whole margin.
		if alarms*100 > size.runs {
			t.Errorf("%d and %d trials: %d of %d comparisons of a machine with itself raise an alarm, want at most 1 %%", size.then, size.now, alarms, size.runs)
		}
	}
}

func TestSlownessIsFound(t *testing.T) {
	for _, size := range []struct {
		then, now int
		stretch   float64
	}{{20, 20, 2}, {20, 5, 4}, {8, 8, 5}, {40, 40, 1.8}} {
		found := 0
		const runs = 20
		for seed := range uint64(runs) {
			before := machine{random: rand.New(rand.NewPCG(seed, 1)), checks: 8}
			after := machine{random: rand.New(rand.NewPCG(seed, 2)), checks: 8, slower: map[int]float64{2: size.stretch}}
			names := slower(Compare(after.run(size.now), before.run(size.then)))
			if slices.Contains(names, "RES-03 outage") {
				found++
			}
			for _, name := range names {
				if !strings.HasPrefix(name, "RES-03 ") {
					t.Errorf("%s is blamed, only RES-03 became slower", name)
				}
			}
		}
		if found < runs*8/10 {
			t.Errorf("%d and %d trials, %g times slower: found in %d of %d runs", size.then, size.now, size.stretch, found, runs)
		}
	}
}

func TestWhatNobodyCaresForIsNoRegression(t *testing.T) {
	quick := func(ms float64) *report.Report {
		r := &report.Report{}
		for i := range 20 {
			r.Faults = append(r.Faults, report.Fault{Check: "RES-01", Kind: "pod-delete", Witness: "uid", OutageMS: ms + float64(i)})
		}
		return r
	}
	if got := slower(Compare(quick(980), quick(920))); len(got) > 0 {
		t.Errorf("60 ms more than 920 ms: %v, want nothing", got)
	}
	if got := slower(Compare(quick(1400), quick(920))); !slices.Equal(got, []string{"RES-01 outage"}) {
		t.Errorf("480 ms more than 920 ms: %v, want the outage", got)
	}
}

func TestTooFewTrialsAreSaid(t *testing.T) {
	m := machine{random: rand.New(rand.NewPCG(1, 1)), checks: 3}
	then := m.run(2)
	m.slower = map[int]float64{0: 50, 1: 50, 2: 50}
	now := m.run(2)
	now.Baseline = Compare(now, then)
	for _, time := range now.Baseline.Times {
		if time.Outcome != report.TooFew || time.Enough < 5 {
			t.Errorf("%+v, want too few trials and how many would do", time)
		}
	}
	report.Judge(now, nil)
	if text := strings.Join(now.Reasons, "\n"); now.Verdict != report.Certified || !strings.Contains(text, "too few trials") || !strings.Contains(text, "RES-02 (2 then, 2 now)") {
		t.Errorf("verdict %s, reasons:\n%s", now.Verdict, text)
	}
}

// TestFaultsWithoutWitnessDoNotCount: they measured nothing.
func TestFaultsWithoutWitnessDoNotCount(t *testing.T) {
	m := machine{random: rand.New(rand.NewPCG(1, 1)), checks: 1}
	then, now := m.run(10), m.run(10)
	for i := range now.Faults[:9] {
		now.Faults[i].Witness = ""
	}
	if n := Compare(now, then).Times[0].Now.N; n != 1 {
		t.Errorf("%d trials count, want 1", n)
	}
}

func TestChecks(t *testing.T) {
	run := func(statuses map[string]report.Status) *report.Report {
		r := &report.Report{RunID: "earlier", Verdict: report.Certified}
		for id, status := range statuses {
			r.Checks = append(r.Checks, report.Check{ID: id, Level: report.Should, Status: status, Reason: "it was so"})
		}
		r.Checks = append(r.Checks, report.Check{ID: "ACT-01", Level: report.Must, Status: report.Passed})
		return r
	}
	then := run(map[string]report.Status{"OPS-01": report.Passed, "OPS-02": report.Passed, "OPS-03": report.Passed, "OPS-04": report.Failed, "OPS-05": report.Passed})
	now := run(map[string]report.Status{"OPS-01": report.Failed, "OPS-02": report.Skipped, "OPS-03": report.Passed, "OPS-04": report.Failed, "OPS-06": report.Failed})
	b := Compare(now, then)
	for what, got := range map[string][2][]string{
		"failed": {b.Failed, {"OPS-01"}}, "unproved": {b.Unproved, {"OPS-02"}}, "unasked": {b.Unasked, {"OPS-05"}},
	} {
		if !slices.Equal(got[0], got[1]) {
			t.Errorf("%s: %v, want %v", what, got[0], got[1])
		}
	}
	// All of these are SHOULD, which block nothing but for the baseline.
	now.Baseline = b
	report.Judge(now, nil)
	if now.Verdict != report.NotCertified || !strings.HasPrefix(now.Reasons[0], "OPS-01 passed in run earlier, the baseline, and failed now") {
		t.Errorf("verdict %s, reasons %q", now.Verdict, now.Reasons)
	}
	b.Failed = nil
	report.Judge(now, nil)
	if now.Verdict != report.VerdictInconclusive || !strings.HasPrefix(now.Reasons[0], "OPS-02 passed in run earlier") {
		t.Errorf("verdict %s, reasons %q", now.Verdict, now.Reasons)
	}
	now.Baseline = nil
	if report.Judge(now, nil); now.Verdict != report.Certified {
		t.Errorf("without a baseline the verdict is %s", now.Verdict)
	}
}

func TestRegressionsAreNamed(t *testing.T) {
	before := machine{random: rand.New(rand.NewPCG(1, 1)), checks: 2}
	after := machine{random: rand.New(rand.NewPCG(1, 2)), checks: 2, slower: map[int]float64{1: 5}}
	now := after.run(10)
	now.Baseline = Compare(now, before.run(12))
	report.Judge(now, nil)
	if now.Verdict != report.NotCertified {
		t.Fatalf("verdict %s, want not-certified", now.Verdict)
	}
	for _, word := range []string{"RES-02 (process-kill) became slower than in run run", "outage", "in 10 trials now", "in 12 trials then", "unsealed"} {
		if !strings.Contains(now.Reasons[0], word) {
			t.Errorf("the reason lacks %q: %s", word, now.Reasons[0])
		}
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	whole, err := json.Marshal(machine{random: rand.New(rand.NewPCG(1, 1)), checks: 1}.run(1))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{write(report.JSONFile, string(whole)), dir} {
		if r, err := Load(path); err != nil || len(r.Faults) != 1 {
			t.Errorf("%s: %v", path, err)
		}
	}
	for want, path := range map[string]string{
		"there is no baseline at":             filepath.Join(dir, "absent.json"),
		"there is no baseline at " + dir:      filepath.Join(dir, "empty"),
		"it is no report.json":                write("half.json", `{"schema":"vaultproof.report/v1","runId":`),
		`its schema is "vaultproof.report/v9`: write("new.json", `{"schema":"vaultproof.report/v9"}`),
		`its schema is ""`:                    write("other.json", `{"kind":"List"}`),
		"holds no check":                      write("none.json", `{"schema":"vaultproof.report/v1","checks":[]}`),
	} {
		_, err := Load(path)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "-baseline") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want one line that says %q", path, err, want)
		}
	}
}
