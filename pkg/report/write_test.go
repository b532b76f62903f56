package report

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vaultproof/vaultproof/pkg/timeline"
)

// written writes a report into a new directory and returns the directory.
func written(t *testing.T, r *Report, events []timeline.Event) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "run")
	if err := Write(dir, r, events); err != nil {
		t.Fatal(err)
	}
	return dir
}

func content(t *testing.T, dir, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestJSONRoundTrip(t *testing.T) {
	r := sampleReport()
	r.Baseline = sampleBaseline()
	Judge(r, []string{"ACT-01"})
	dir := written(t, r, nil)
	got, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	want := tidy(r)
	if !reflect.DeepEqual(got, want) {
		t.Errorf("loaded %+v\nwant %+v", got, want)
	}
}

func TestSchemaOfJSON(t *testing.T) {
	r := sampleReport()
	Judge(r, nil)
	dir := written(t, r, nil)
	var raw map[string]any
	if err := json.Unmarshal(content(t, dir, JSONFile), &raw); err != nil {
		t.Fatal(err)
	}
	has := func(at map[string]any, names ...string) {
		t.Helper()
		for _, name := range names {
			if _, ok := at[name]; !ok {
				t.Errorf("%q is absent from %v", name, at)
			}
		}
	}
	has(raw, "schema", "runId", "seed", "started", "ended", "target", "profile", "verdict", "reasons", "checks", "faults")
	has(raw["target"].(map[string]any), "cluster", "kubernetesVersion", "vaultVersion", "images")
	has(raw["checks"].([]any)[0].(map[string]any), "id", "area", "level", "status", "seconds")
	fault := raw["faults"].([]any)[0].(map[string]any)
	has(fault, "kind", "target", "injectedAt", "witness", "recoveredAt", "outageMs", "phases", "ackedWritesLost")
	has(fault["phases"].(map[string]any), "detected", "elected", "labelled", "routed", "firstWrite", "unsealed")
}

func TestOrderIsStable(t *testing.T) {
	r, shuffled := sampleReport(), sampleReport()
	slices.Reverse(shuffled.Checks)
	slices.Reverse(shuffled.Faults)
	Judge(r, nil)
	Judge(shuffled, nil)
	events := sampleEvents(time.Minute)
	first, second := written(t, r, events), written(t, shuffled, events)
	for _, name := range []string{JSONFile, JUnitFile, HTMLFile} {
		if !bytes.Equal(content(t, first, name), content(t, second, name)) {
			t.Errorf("%s depends on the order in which checks and faults were reported", name)
		}
	}
}

func TestNumbersThatJSONCannotHold(t *testing.T) {
	r := &Report{
		Checks: []Check{{ID: "RES-01", Seconds: math.NaN(), Measurements: map[string]float64{"outage_ms": math.Inf(1), "writes_total": 3}}},
		Faults: []Fault{{ID: "RES-01#1", OutageMS: math.NaN(), Phases: Phases{Elected: MS(math.Inf(1)), Routed: MS(5)}}},
	}
	got, err := Load(written(t, r, nil))
	if err != nil {
		t.Fatal(err)
	}
	if want := map[string]float64{"writes_total": 3}; !reflect.DeepEqual(got.Checks[0].Measurements, want) {
		t.Errorf("measurements %v, want %v", got.Checks[0].Measurements, want)
	}
	if p := got.Faults[0].Phases; p.Elected != nil || p.Routed == nil {
		t.Errorf("phases %+v, want routed alone", p)
	}
	if !math.IsNaN(r.Checks[0].Seconds) || r.Faults[0].Phases.Elected == nil {
		t.Error("writing changed the report itself")
	}
}

func TestLoadRefuses(t *testing.T) {
	for name, data := range map[string]string{
		"another schema": `{"schema":"vaultproof.report/v9"}`,
		"half a file":    `{"schema":"vaultproof.report/v1","runId":`,
		"no schema":      `{}`,
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, JSONFile), []byte(data), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(dir); err == nil {
			t.Errorf("%s was loaded", name)
		}
	}
	if _, err := Load(t.TempDir()); err == nil {
		t.Error("a directory without a report was loaded")
	}
}

func TestNoTokenIsWritten(t *testing.T) {
	tokens := []string{"hvs.CAESIJ0123456789abcdefghij", "s.0123456789abcdefABCDEF01"}
	r := sampleReport()
	r.Checks[0].Reason = "sidecar log says token=" + tokens[0] + " and " + tokens[1]
	r.Checks[0].Status = Failed
	Judge(r, nil)
	events := []timeline.Event{{At: sampleStart, Kind: timeline.Operation, Subject: "write", Detail: "403 for " + tokens[0]}}
	dir := written(t, r, events)
	for _, name := range []string{JSONFile, JUnitFile, HTMLFile} {
		for _, token := range tokens {
			if bytes.Contains(content(t, dir, name), []byte(token)) {
				t.Errorf("%s has the token %s", name, token)
			}
		}
	}
}

func TestWriteLeavesNothingHalf(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, HTMLFile), 0o755); err != nil { // the page cannot be put there
		t.Fatal(err)
	}
	err := Write(dir, sampleReport(), nil)
	if err == nil || !strings.Contains(err.Error(), HTMLFile) {
		t.Fatalf("error %v, want one about %s", err, HTMLFile)
	}
	if _, err := Load(dir); err != nil {
		t.Errorf("the other files were not written: %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".*")); len(left) > 0 {
		t.Errorf("temporary files were left: %v", left)
	}
}

func TestJUnit(t *testing.T) {
	r := sampleReport()
	r.Checks[2].Reason += " \x00\x1b[31m <&>" // what a log may hold
	Judge(r, nil)
	data := content(t, written(t, r, nil), JUnitFile)
	var got junitSuites
	if err := xml.Unmarshal(data, &got); err != nil {
		t.Fatalf("not XML: %v", err)
	}
	if got.Tests != len(r.Checks) || got.Failures != 2 || got.Errors != 1 || got.Skipped != 1 {
		t.Errorf("%d tests, %d failures, %d errors, %d skipped; want %d, 2, 1, 1", got.Tests, got.Failures, got.Errors, got.Skipped, len(r.Checks))
	}
	seen := map[string]junitCase{}
	for _, suite := range got.Suites {
		for _, c := range suite.Cases {
			id, _, _ := strings.Cut(c.Name, " ")
			seen[id] = c
			if c.Class != suite.Name {
				t.Errorf("%s has classname %q in suite %q", id, c.Class, suite.Name)
			}
		}
	}
	if c := seen["ISO-02"]; c.Error == nil || !strings.Contains(c.Error.Message, "fourth replica") {
		t.Errorf("the inconclusive ISO-02 is %+v, want an error with its reason", c)
	}
	if c := seen["RES-11"]; c.Skipped == nil || !strings.Contains(c.Skipped.Message, "freezer") {
		t.Errorf("the skipped RES-11 is %+v, want its reason", c)
	}
	if c := seen["RES-05"]; c.Failure == nil || !strings.Contains(c.Failure.Message, "11.24 s") {
		t.Errorf("the failed RES-05 is %+v, want its reason", c)
	}
}

func TestLink(t *testing.T) {
	dir := t.TempDir()
	for _, run := range []string{"first", "second"} {
		if err := os.Mkdir(filepath.Join(dir, run), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := Link(dir, run); err != nil {
			t.Fatal(err)
		}
		if got, err := os.Readlink(filepath.Join(dir, "latest")); err != nil || got != run {
			t.Errorf("latest is %q (%v), want %q", got, err, run)
		}
	}
	if err := Link(filepath.Join(dir, "absent"), "run"); err == nil {
		t.Error("linked in a directory that does not exist")
	}
}

func TestSummary(t *testing.T) {
	r := sampleReport()
	Judge(r, nil)
	dir := written(t, r, nil)
	var b bytes.Buffer
	if err := Summary(&b, r); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"NOT CERTIFIED", "RES-05 failed: the outage lasted 11.24 s", "10 passed, 2 failed, 1 inconclusive, 1 skipped",
		"RES-02#1   process-kill of vault-1", filepath.Join(dir, HTMLFile), "seed 20261123"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the summary lacks %q:\n%s", want, b.String())
		}
	}
}

func TestSummaryOfManyTrials(t *testing.T) {
	r, _ := longRun(time.Minute, 20)
	r.Faults[0].Witness, r.Faults[1].AckedWritesLost = " ", 2
	Judge(r, nil)
	var b bytes.Buffer
	if err := Summary(&b, r); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(b.String(), "20 trials: outage median"); n != len(longKinds) {
		t.Errorf("%d lines of trials, want %d:\n%s", n, len(longKinds), b.String())
	}
	for _, want := range []string{"RES-01     pod-delete, 20 trials: outage median 918 ms, p95 1.32 s (budget 1.26 s), 1 without a witness, 2 acknowledged writes lost"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the summary lacks %q:\n%s", want, b.String())
		}
	}
}

func TestSpan(t *testing.T) {
	for ms, want := range map[float64]string{0: "0 ms", 2.34: "2.3 ms", 9.96: "10 ms", 340.4: "340 ms", 999.6: "1 s", 2310: "2.31 s", 8000: "8 s", 72_000: "1 min 12 s", 59_990: "1 min 0 s", 7_260_000: "2 h 1 min"} {
		if got := span(ms); got != want {
			t.Errorf("%v ms is %q, want %q", ms, got, want)
		}
	}
}

func TestPercentNeverRoundsUpToAll(t *testing.T) {
	if got := percent(999_999, 1_000_000); got != "99.99 %" {
		t.Errorf("one failure in a million is %q", got)
	}
}
