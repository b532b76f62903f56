package main

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/vaultproof/vaultproof/bootstrap/internal/realvault"
)

// TestStop sends the sidecar SIGTERM at moments all over a first start. It must
// end cleanly and in time, and the next one must end serving, on the same
// storage: whoever is told to stop stores the keys that it holds first.
func TestStop(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a Vault for each moment; left out with -short")
	}
	realvault.Binary(t)
	binary := withFailpoints(t)
	all := record(t, binary, "")
	wanted := map[string]bool{"before-sys/init": true, "after-sys/init": true, "before-unseal": true, "after-unseal": true}
	const spread = 8 // moments, taken evenly from all
	for i := range spread {
		wanted[all[i*len(all)/spread]] = true
	}
	for _, moment := range all {
		if !wanted[moment] {
			continue
		}
		t.Run(strings.ReplaceAll(moment, "/", "-"), func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 1)
			p := r.pods[0]
			p.startVault()
			p.kubelet()
			ctx, cancel := context.WithTimeout(t.Context(), settle)
			defer cancel()
			begin := time.Now()
			if err := p.process(ctx, binary, "-failpoints", "term:"+moment).Run(); err != nil {
				t.Fatalf("it did not end cleanly: %v", err)
			}
			t.Logf("ended %s after it began", time.Since(begin).Round(time.Millisecond))
			p.extra = []string{"-keep-root-token=false"}
			p.startSidecar()
			p.await("serving", settle, serves)
			if n := p.rebuilds.Load(); n != 0 {
				t.Errorf("the storage was emptied %d times, so keys were lost", n)
			}
			complete(t, p)
		})
	}
}
