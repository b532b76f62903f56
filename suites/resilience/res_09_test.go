package resilience

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/vaultproof/vaultproof/pkg/target"
)

func TestPatient(t *testing.T) {
	sealed := target.SealLook{Status: &api.SealStatusResponse{Initialized: true, Sealed: true}}
	open := target.SealLook{Status: &api.SealStatusResponse{Initialized: true}}
	empty := target.SealLook{Status: &api.SealStatusResponse{Sealed: true}}
	silent := target.SealLook{Err: errors.New("refused")}
	good := func(edit func(*waited)) waited {
		w := waited{pod: "vault-1", mode: "deny", looks: []target.SealLook{sealed, silent, sealed}, calls: 40, pods: 3, span: 15 * time.Second}
		edit(&w)
		return w
	}
	for name, c := range map[string]struct {
		w    waited
		want string
	}{
		"patient":            {good(func(*waited) {}), ""},
		"at the limit":       {good(func(w *waited) { w.calls = 50 }), ""},
		"above it":           {good(func(w *waited) { w.calls = 51 }), "51 calls in 15s, 204 a minute; want at most 200"},
		"polls":              {good(func(w *waited) { w.calls = 3000 }), "3000 calls"},
		"alone, a whole":     {good(func(w *waited) { w.calls, w.pods = 150, 1 }), ""},
		"unsealed":           {good(func(w *waited) { w.looks = append(w.looks, open) }), "did not stay sealed"},
		"lost its data":      {good(func(w *waited) { w.looks = append(w.looks, empty) }), "initialized=false"},
		"Ready all the same": {good(func(w *waited) { w.ready = true }), "was Ready although sealed"},
	} {
		err := patient(c.w)
		if (c.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	if n := (waited{looks: []target.SealLook{silent}}).answers(); n != 0 {
		t.Errorf("silence counts as %d answers", n)
	}
}

func TestRecovered(t *testing.T) {
	if err := recovered("vault-1", "deny", 11*time.Second, 11*time.Second); err != nil {
		t.Error(err)
	}
	if recovered("vault-1", "deny", 11001*time.Millisecond, 11*time.Second) == nil {
		t.Error("over the budget passes")
	}
}
