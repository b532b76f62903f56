package registrar_test

import (
	"context"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/vaultproof/vaultproof/bootstrap/registrar"
)

const (
	// activates bounds the time from Vault's announcement to its first answer as
	// the active one. Unhindered it is some 100 ms.
	activates = time.Second
	// converges bounds the time until labels are right once the API server is back.
	converges = 5 * time.Second
	settles   = 60 * time.Second // a loaded machine
)

var (
	asActive  = map[string]string{registrar.Active: "true", registrar.Sealed: "false", registrar.Initialised: "true", registrar.PerfStandby: "false"}
	asStandby = map[string]string{registrar.Active: "false", registrar.Sealed: "false"}
)

// TestVault takes a real Vault through what its registration does, with an API
// server that comes and goes.
func TestVault(t *testing.T) {
	r := newRig(t)
	r.api.away(true)
	r.startSidecar()
	r.startVault()
	r.await("Vault answers, without the API server", 10*time.Second, r.answers)

	init, err := r.client.Sys().Init(&api.InitRequest{SecretShares: 1, SecretThreshold: 1})
	must(t, err)
	r.client.SetToken(init.RootToken)
	key := init.KeysB64[0]
	unseal := func() {
		t.Helper()
		began := time.Now()
		_, err := r.client.Sys().Unseal(key)
		must(t, err)
		if took := time.Since(began); took > activates {
			t.Errorf("unsealing took %s; want less than %s", took, activates)
		}
		r.becomesActive()
	}
	unseal()
	if got := r.api.labels(); len(got) != 0 {
		t.Errorf("labels %v while the API server is away", got)
	}
	r.back(asActive)

	t.Run("step-down with the API server", func(t *testing.T) {
		off, on := r.stepDown()
		if off > 100*time.Millisecond {
			t.Errorf("false was published %s after Vault announced it; want it at once", off)
		}
		if on < 0 || on > 100*time.Millisecond {
			t.Errorf("true was published %s after Vault served; want it then, within 100 ms", on)
		}
	})
	t.Run("step-down without it", func(t *testing.T) {
		r.api.away(true)
		before := len(r.api.history())
		must(t, r.client.Sys().StepDown())
		r.await("Vault steps down", settles, func() bool { return r.memory.Said().Off() })
		r.back(asStandby) // well before it becomes active again
		r.api.away(true)
		r.becomesActive()
		if !r.api.has(asStandby) {
			t.Errorf("labels %v while the API server is away", r.api.labels())
		}
		r.back(asActive)
		if h := r.api.history()[before:]; len(h) != 2 || h[0].value != "false" || h[1].value != "true" {
			t.Errorf("vault-active was written %v; want false, then true, and no more", h)
		}
	})
	t.Run("sidecar restarted", func(t *testing.T) {
		r.stopSidecar()
		r.api.set(map[string]string{registrar.Active: "false", registrar.Sealed: "true", registrar.Initialised: "false", registrar.PerfStandby: "true", registrar.Version: "0"})
		r.startSidecar()
		r.await("labels derived from Vault itself", converges, func() bool { return r.api.has(asActive) && r.api.labels()[registrar.Version] != "0" })
		if n := r.memory.Said().Seq; n != 0 {
			t.Errorf("Vault said %d things; the test proves nothing", n)
		}
	})
	t.Run("stopped and started without the API server", func(t *testing.T) {
		took := r.stopVault()
		t.Logf("vault ended %s after SIGTERM", took.Round(time.Millisecond))
		r.await("sealed and standby", converges, func() bool { return r.api.has(map[string]string{registrar.Active: "false", registrar.Sealed: "true"}) })
		r.api.away(true)
		r.startVault()
		r.await("Vault answers, without the API server", 10*time.Second, r.answers)
		unseal()
		r.back(asActive)
	})
	t.Run("killed", func(t *testing.T) {
		r.vault.Kill()
		r.await("no longer labelled active", converges, func() bool { return r.api.has(map[string]string{registrar.Active: "false"}) })
		r.startVault()
		r.await("Vault answers", 10*time.Second, r.answers)
		unseal()
		r.await("labels", converges, func() bool { return r.api.has(asActive) })
	})
}

// TestVaultWithoutRegistrar shows what the registrar is for: the same API server,
// asked by Vault itself, keeps Vault from starting.
func TestVaultWithoutRegistrar(t *testing.T) {
	r := newRig(t)
	r.api.away(true)
	r.direct()
	r.startVault()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if eventually(ctx, r.answers) {
		t.Error("Vault answers though its API server does not: the tests beside this one prove nothing")
	}
	if r.api.asked() == 0 {
		t.Error("Vault asked nobody: something else keeps it from starting")
	}
}

// stepDown has Vault step down, which becomes active again ten seconds later, and
// tells how long after the facts both were published.
func (r *rig) stepDown() (off, on time.Duration) {
	r.T.Helper()
	before := len(r.api.history())
	must(r.T, r.client.Sys().StepDown())
	r.await("Vault steps down", settles, func() bool { return r.memory.Said().Off() })
	said := r.memory.Said().At
	r.await("labelled so", converges, func() bool { return r.api.has(asStandby) })
	serves := r.becomesActive()
	r.await("labels", converges, func() bool { return r.api.has(asActive) })
	h := r.api.history()[before:]
	if len(h) != 2 || h[0].value != "false" || h[1].value != "true" {
		r.T.Fatalf("vault-active was written %v; want false, then true, and no more", h)
	}
	// Polling sees Vault serve up to its own pace later than it does.
	return h[0].at.Sub(said), h[1].at.Sub(serves) + pace
}

// becomesActive waits until Vault serves as the active one, and tells when. It
// may not take long from the announcement on.
func (r *rig) becomesActive() time.Time {
	r.T.Helper()
	r.await("Vault announces that it becomes active", settles, func() bool { return r.memory.Said().On() })
	r.await("Vault is active", settles, r.active)
	now, said := time.Now(), r.memory.Said().At
	r.T.Logf("active %s after it announced so", now.Sub(said).Round(time.Millisecond))
	if took := now.Sub(said); took > activates {
		r.T.Errorf("vault needed %s to become active; want less than %s", took, activates)
	}
	return now
}

// back lets the API server answer again, and waits for the labels.
func (r *rig) back(want map[string]string) {
	r.T.Helper()
	r.api.away(false)
	began := time.Now()
	r.await("labels after the API server is back", converges, func() bool { return r.api.has(want) })
	r.T.Logf("labels right %s after the API server was back", time.Since(began).Round(time.Millisecond))
}
