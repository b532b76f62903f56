package tenancy

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// Whoever revokes the old reviewer before Vault has the new one costs logins.
func TestARotationThatCostsLoginsIsSeen(t *testing.T) {
	for name, c := range map[string]struct {
		order []string
		good  bool
	}{
		"replaced, then revoked": {[]string{"replace", "revoke"}, true},
		"revoked, then replaced": {[]string{"revoke", "replace"}, false},
	} {
		var uses, valid atomic.Value
		uses.Store("first")
		valid.Store("first second")
		logins := flowing(t.Context(), time.Millisecond, func(context.Context) outcome {
			if strings.Contains(valid.Load().(string), uses.Load().(string)) {
				return letIn("p")
			}
			return answered(http.StatusForbidden)
		})
		for _, do := range c.order {
			if err := pause(t.Context(), 20*time.Millisecond); err != nil {
				t.Fatal(err)
			}
			switch do {
			case "replace":
				uses.Store("second")
			case "revoke":
				valid.Store("second")
			}
		}
		if err := costless(logins.end()); (err == nil) != c.good {
			t.Errorf("%s: %v", name, err)
		}
	}
	if costless(nil) == nil {
		t.Error("no login at all passes for none that failed")
	}
}

// The token that was replaced is revoked only when nothing uses it any more.
func TestTheStepsOfARotationAreInOrder(t *testing.T) {
	var said []string
	for _, s := range (&rotation{before: map[string]any{}}).steps() {
		said = append(said, s.what)
	}
	all := strings.Join(said, "; ")
	replaced, revoked := strings.Index(all, "replaced by another"), strings.Index(all, "was replaced is revoked")
	if replaced < 0 || revoked < replaced || !strings.Contains(all[revoked:], "for themselves again") {
		t.Errorf("the steps are: %s", all)
	}
}

func TestAConfigurationThatStaysChangedIsSeen(t *testing.T) {
	before := map[string]any{"kubernetes_host": "https://x", "pem_keys": []any{}}
	if err := same("p", before, map[string]any{"kubernetes_host": "https://x", "pem_keys": []any{}}); err != nil {
		t.Errorf("the same: %v", err)
	}
	for _, now := range []map[string]any{{"kubernetes_host": "https://y", "pem_keys": []any{}}, {"kubernetes_host": "https://x", "pem_keys": []any{}, "issuer": "z"}} {
		if same("p", before, now) == nil {
			t.Errorf("%v passes for %v", now, before)
		}
	}
}

func TestAFlowDoesNotWaitForWhoHangs(t *testing.T) {
	release := make(chan struct{})
	began := make(chan struct{}, 1000)
	logins := flowing(t.Context(), time.Millisecond, func(context.Context) outcome {
		began <- struct{}{}
		<-release
		return outcome{}
	})
	for range 5 {
		<-began
	}
	close(release)
	if n := len(logins.end()); n < 5 || len(logins.end()) != n {
		t.Errorf("%d logins, want five at least, and no more later", n)
	}
}
