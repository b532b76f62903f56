package bootstrap

import (
	"testing"
	"time"
)

func TestSaysHeld(t *testing.T) {
	const line = `{"level":"WARN","msg":"state held","reason":"sealed-held","why":"Vault is sealed and held (vaultproof run r1): remove the annotation vaultproof.dev/hold to unseal it"}` + "\n"
	if err := saysHeld("vault-0", line); err != nil {
		t.Error(err)
	}
	for name, log := range map[string]string{
		"silent":            "",
		"no way out":        `{"msg":"state held"}` + "\n",
		"unseals as always": `{"msg":"state keys-stored","why":"Vault is sealed; fetching shares and unsealing it"}` + "\n",
	} {
		if saysHeld("vault-0", log) == nil {
			t.Errorf("%s: passes", name)
		}
	}
}

func TestWithinReleased(t *testing.T) {
	if err := withinReleased("vault-0", 5*time.Second); err != nil {
		t.Error(err)
	}
	if withinReleased("vault-0", 5100*time.Millisecond) == nil {
		t.Error("over the budget passes")
	}
}
