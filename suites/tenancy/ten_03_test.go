package tenancy

import (
	"errors"
	"net/http"
	"testing"
	"time"
)

// A role whose mount verifies by public keys alone lets a token in until its end.
func TestATokenThatOutlivesItsOwnerIsSeen(t *testing.T) {
	gone := time.Now()
	at := func(o outcome, after time.Duration) outcome { o.began = gone.Add(after); return o }
	yes, no, mute := letIn("p"), answered(http.StatusForbidden), outcome{err: errors.New("timeout")}
	for name, c := range map[string]struct {
		tried []outcome
		good  bool
	}{
		"useless at once":     {[]outcome{at(no, 0)}, true},
		"remembered":          {[]outcome{at(yes, 0), at(yes, fadesWithin), at(no, fadesWithin+time.Second)}, true},
		"remembered too long": {[]outcome{at(yes, fadesWithin+time.Second), at(no, fadesWithin+2*time.Second)}, false},
		"good for ever":       {[]outcome{at(yes, 0), at(yes, time.Second)}, false},
	} {
		f := fading{kind: "pod", gone: gone}
		for _, o := range c.tried {
			f.take(o)
		}
		if err := f.judge(); (err == nil) != c.good {
			t.Errorf("%s: %v", name, err)
		}
	}
	f := fading{kind: "pod", gone: gone}
	if f.take(at(mute, 0)) || f.silent == nil {
		t.Error("silence is taken for a refusal")
	}
	if !f.take(at(no, time.Second)) || f.silent != nil || f.outlived() != 0 {
		t.Errorf("after a refusal: %+v", f)
	}
}
