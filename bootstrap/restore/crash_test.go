package restore

import (
	"fmt"
	"testing"
)

// crashed is what a simulated crash panics with.
type crashed struct{}

// TestCrash ends a restore at each of its moments. Either the sidecar does the
// rest, or it has the storage emptied and the restore is run again.
func TestCrash(t *testing.T) {
	if testing.Short() {
		t.Skip("restores a Vault for each moment; left out with -short")
	}
	r, store, taken := disaster(t, 1)
	p := r.pods[0]
	again := map[string]bool{"restore-before-mark": true, "restore-before-init": true, "restore-after-init": true, "restore-before-load": true, "restore-after-upload": true, "restore-loaded": true}
	var moments []string
	for at := 0; ; at++ {
		a := attempt(r, store, taken.Name)
		moments = nil
		last := ""
		a.hit = func(moment string) {
			moments = append(moments, moment)
			if len(moments) > at {
				last = moment
				panic(crashed{})
			}
		}
		through := func() (through bool) {
			defer func() {
				if r := recover(); r != nil && r != (crashed{}) {
					panic(r)
				}
			}()
			must(t, a.run(t.Context()))
			return true
		}()
		if !through {
			t.Log("crashed at", last)
			if again[last] {
				emptied(t, p)
				must(t, attempt(r, store, taken.Name).run(t.Context()))
			}
		}
		p.await("open-active")
		holds(t, p, r.secret(r.Ring.Root()))
		clean(t, r)
		if through {
			break
		}
		// Another disaster, and another pod.
		p.stopSidecar()
		p.Kill()
		p.empty()
		p.startVault()
		p.startSidecar()
		p.await("empty-keys-exist")
	}
	t.Log(moments)
	if len(moments) < 6 {
		t.Errorf("only %d moments: %v", len(moments), moments)
	}
}

// emptied waits until the sidecar had the storage emptied. A Vault that is open
// with keys that nobody has is restarted by an admin, as the sidecar says.
func emptied(t *testing.T, p *pod) {
	t.Helper()
	deleted := false
	eventually(t, "empty Vault", func() error {
		turn, ready := p.state()
		switch turn.Decision.Name {
		case "empty-keys-exist":
			return nil
		case "open-restore-broken":
			if deleted {
				break
			}
			if ready {
				t.Error("an open Vault without its data is called ready")
			}
			must(t, p.Delete(t.Context()))
			deleted = true
		}
		return fmt.Errorf("it is in %s", turn.Decision.Name)
	})
}
