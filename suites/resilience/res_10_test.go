package resilience

import (
	"strings"
	"testing"
	"time"

	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/judge"
)

func TestWhatTheJudgementComesTo(t *testing.T) {
	broken := judge.Promise{Text: "what was acknowledged is there at the end", Judged: 10, Of: "acknowledged writes", Broken: []string{"key a, version 3: it is at version 2"}}
	for name, c := range map[string]struct {
		judgement judge.Judgement
		want      string
	}{
		"kept":             {judge.Judgement{Promises: []judge.Promise{{Judged: 10}}}, ""},
		"a loss":           {judge.Judgement{Promises: []judge.Promise{broken}}, "does not hold once, judged by 10 acknowledged writes: key a, version 3: it is at version 2"},
		"a gap":            {judge.Judgement{Gaps: []string{"RES-01#1: too little traffic"}}, "too little traffic"},
		"a loss and a gap": {judge.Judgement{Promises: []judge.Promise{broken}, Gaps: []string{"too little traffic"}}, "does not hold"},
	} {
		err := verdictOf(&conformance.Case{}, c.judgement)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func TestNextFault(t *testing.T) {
	faults := []time.Time{time.Unix(10, 0), time.Unix(20, 0)}
	for at, want := range map[int64]int{5: 0, 15: 1, 25: 1} {
		if got := nextFault(faults, time.Unix(at, 0)); got != want {
			t.Errorf("a write at %d is blamed on fault %d, want %d", at, got, want)
		}
	}
	if got := nextFault(nil, time.Now()); got != -1 {
		t.Errorf("without faults: %d", got)
	}
}
