package judge

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vaultproof/vaultproof/pkg/history"
	"github.com/vaultproof/vaultproof/pkg/report"
	"github.com/vaultproof/vaultproof/pkg/timeline"
)

// aRun is a good run: load of every kind at 100 operations a second for 30 s, and
// a fault from 10 s to 12 s, in which half of the operations fail.
func aRun() *stored {
	s := newScript(100, 3000)
	run := &stored{}
	for op := range s.operations() {
		run.Ops = append(run.Ops, op)
		run.Events = append(run.Events, operation(op))
	}
	run.Final = &s.final
	run.Events = append(run.Events,
		at(10_000, timeline.Fault, "RES-01#1", "injecting"), at(10_050, timeline.Fault, "RES-01#1", "injected"),
		at(10_100, timeline.Fault, "RES-01#1", "witnessed"), at(12_000, timeline.Fault, "RES-01#1", "recovered"),
		at(0, timeline.Leader, "vault-0", "active"), at(0, timeline.Cluster, "vault-0", "c1"),
		at(0, timeline.Index, "vault-0", "100"), at(1000, timeline.Index, "vault-0", "200"), at(0, timeline.Term, "vault-0", "3"),
	)
	return run
}

// stored is a run as it is stored, operations in its timeline.
type stored struct {
	Ops    []history.Op
	Final  *history.Final
	Events []timeline.Event
}

func (s *stored) judge(t *testing.T) Judgement {
	run := Run{Ops: s.Ops, Final: s.Final}
	run.Tell(s.Events)
	return Judge(t.Context(), run)
}

func at(ms int64, kind timeline.Kind, subject, value string) timeline.Event {
	return timeline.Event{At: time.Unix(0, begin).Add(time.Duration(ms) * time.Millisecond), Kind: kind, Subject: subject, Value: value, Detail: "pod-delete of vault-0"}
}

func TestGoodRun(t *testing.T) {
	j := aRun().judge(t)
	if j.Verdict != report.Certified || len(j.Gaps) != 0 || len(j.Broken()) != 0 {
		t.Fatalf("a good run is %s: gaps %q, %d broken", j.Verdict, j.Gaps, len(j.Broken()))
	}
	for _, p := range j.Promises {
		if p.Judged == 0 {
			t.Errorf("nothing was judged for %q", p.Text)
		}
	}
}

// first finds an operation and lets edit break it.
func first(run *stored, kind history.Kind, outcome history.Outcome, edit func(*history.Op)) {
	for i := range run.Ops {
		if op := &run.Ops[i]; op.Kind == kind && op.Outcome == outcome && op.Version != 1 && i > len(run.Ops)/2 {
			edit(op)
			return
		}
	}
}

func TestEveryBrokenPromiseIsFound(t *testing.T) {
	for id, breakIt := range map[string]func(*stored){
		"lost_writes": func(r *stored) {
			for key := range r.Final.Registers {
				delete(r.Final.Registers, key)
				return
			}
		},
		"invented_entries": func(r *stored) { r.Final.Journals["journal-0"] = append(r.Final.Journals["journal-0"], "z") },
		"linear_violations": func(r *stored) {
			first(r, history.Read, history.OK, func(op *history.Op) { op.Value = "nobody's" })
		},
		"stale_reads": func(r *stored) {
			first(r, history.Read, history.OK, func(op *history.Op) { op.Version, op.Value = 0, "" })
		},
		"wrong_plaintexts": func(r *stored) {
			first(r, history.Decrypt, history.OK, func(op *history.Op) { op.Value = "other" })
		},
		"lost_grants": func(r *stored) {
			first(r, history.Use, history.OK, func(op *history.Op) { op.Outcome, op.Denied = history.Fail, true })
		},
		"undead_grants": func(r *stored) {
			first(r, history.Revoke, history.OK, func(op *history.Op) {
				use := *op
				use.Kind, use.Call, use.Return = history.Use, op.Return+1, op.Return+2
				r.Ops = append(r.Ops, use)
			})
		},
		"other_clusters":    func(r *stored) { r.Events = append(r.Events, at(40_000, timeline.Cluster, "vault-2", "c2")) },
		"index_regressions": func(r *stored) { r.Events = append(r.Events, at(40_000, timeline.Index, "vault-0", "150")) },
		"term_regressions":  func(r *stored) { r.Events = append(r.Events, at(40_000, timeline.Term, "vault-0", "2")) },
	} {
		run := aRun()
		breakIt(run)
		j := run.judge(t)
		found := false
		for _, p := range j.Broken() {
			found = found || p.ID == id && p.Sentence() != ""
		}
		if !found || j.Verdict != report.NotCertified {
			t.Errorf("%s: the verdict is %s, gaps %q, %d broken", id, j.Verdict, j.Gaps, len(j.Broken()))
		}
	}
}

func TestGapsProveNothing(t *testing.T) {
	without := func(keep func(timeline.Event) bool) func(*stored) {
		return func(r *stored) {
			var kept []timeline.Event
			for _, e := range r.Events {
				if keep(e) {
					kept = append(kept, e)
				}
			}
			r.Events = kept
		}
	}
	load := func(from, to int64) func(*stored) { // leaves out the load in between
		return without(func(e timeline.Event) bool {
			ms := (e.At.UnixNano() - begin) / 1e6
			return e.Kind != timeline.Operation || ms < from || ms >= to
		})
	}
	for want, breakIt := range map[string]func(*stored){
		"too little traffic: 0 operations in the 2s during the fault": load(10_000, 12_000),
		"operations in the 3s before the fault":                       load(6_000, 9_500),
		"operations in the 3s after the fault":                        load(12_500, 16_000),
		"has no witness":                                              without(func(e timeline.Event) bool { return e.Value != "witnessed" }),
		"the timeline holds no operation":                             without(func(e timeline.Event) bool { return e.Kind != timeline.Operation }),
		"the last state of the keys was never read":                   func(r *stored) { r.Final = nil },
		"a rate of 0 operations a second is none":                     func(r *stored) { r.Final.Rate = 0 },
		"not one write was acknowledged":                              func(r *stored) { r.Ops, r.Final.Journals = nil, nil },
		"values must be unique":                                       func(r *stored) { r.Ops = append(r.Ops, r.Ops[0]) },
	} {
		run := aRun()
		breakIt(run)
		j := run.judge(t)
		if j.Verdict != report.VerdictInconclusive || !strings.Contains(strings.Join(j.Gaps, "\n"), want) {
			t.Errorf("want %q: the verdict is %s, gaps %q, %d broken", want, j.Verdict, j.Gaps, len(j.Broken()))
		}
	}
}

func TestFaultsThatNoClientSawAreNotJudged(t *testing.T) {
	run := aRun()
	run.Events = append(run.Events,
		at(-20_000, timeline.Fault, "BOOT-05#1", "injected"), at(-19_000, timeline.Fault, "BOOT-05#1", "recovered"),
		at(20_000, timeline.Fault, "ACT-09#1", "injecting"), // and could not be
		at(60_000, timeline.Fault, "BOOT-15#1", "injected"),
	)
	if j := run.judge(t); j.Verdict != report.Certified {
		t.Errorf("the verdict is %s, gaps %q, %d broken", j.Verdict, j.Gaps, len(j.Broken()))
	}
}

func TestAStoredRunIsJudgedAgain(t *testing.T) {
	dir := t.TempDir()
	run := aRun()
	store(t, dir, run)
	again, err := Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	j := Judge(t.Context(), again)
	if drawn, err := j.Draw(dir); j.Verdict != report.Certified || drawn != "" || err != nil {
		t.Errorf("a good run, stored, is %s (picture %q, %v): %q", j.Verdict, drawn, err, j.Gaps)
	}
	first(run, history.Read, history.OK, func(op *history.Op) { op.Version, op.Value = 0, "" })
	store(t, dir, run)
	if again, err = Read(dir); err != nil {
		t.Fatal(err)
	}
	j = Judge(t.Context(), again)
	drawn, err := j.Draw(dir)
	if err != nil {
		t.Fatal(err)
	}
	if page, err := os.ReadFile(drawn); err != nil || !strings.Contains(string(page), "answered by vault-0") {
		t.Errorf("the picture %s is not one (%v)", drawn, err)
	}
	var out bytes.Buffer
	if err := Print(&out, j); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"verdict: not-certified\n", `broken: "no read is older than what was known before it" does not hold once, judged by `, "tokens and leases that were revoked stay so              kept "} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("want %q in:\n%s", want, out.String())
		}
	}
}

func TestWhatIsNotStoredIsTold(t *testing.T) {
	dir := t.TempDir()
	if _, err := Read(dir); err == nil || !strings.Contains(err.Error(), "holds no history.ndjson: give the directory of a run") {
		t.Errorf("an empty directory: %v", err)
	}
	run := aRun()
	store(t, dir, run)
	if err := os.Remove(filepath.Join(dir, history.FinalFile)); err != nil {
		t.Fatal(err)
	}
	if again, err := Read(dir); err != nil || again.Final != nil {
		t.Errorf("a run without its final state: %v, %v", again.Final, err)
	}
	for _, name := range []string{history.FinalFile, timeline.File, history.File} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("{\n{}\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Read(dir); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("a broken %s: %v", name, err)
		}
	}
}

// store writes a run as a suite does.
func store(t *testing.T, dir string, run *stored) {
	t.Helper()
	if err := history.Save(filepath.Join(dir, history.File), run.Ops); err != nil {
		t.Fatal(err)
	}
	if err := history.SaveFinal(filepath.Join(dir, history.FinalFile), *run.Final); err != nil {
		t.Fatal(err)
	}
	var lines bytes.Buffer
	enc := json.NewEncoder(&lines)
	for _, e := range run.Events {
		if err := enc.Encode(e); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, timeline.File), lines.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}
