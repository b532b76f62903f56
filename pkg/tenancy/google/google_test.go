package google

import (
	"bytes"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	modules "github.com/vaultproof/vaultproof/deploy/terraform"
)

// What is tried is the role that the module writes: what it says is compared with it.
func TestTheRoleIsTheModules(t *testing.T) {
	files, err := modules.Module(modules.Admin)
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	for _, name := range []string{"main.tf", "variables.tf"} {
		file, err := files.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := text.ReadFrom(file); err != nil {
			t.Fatal(err)
		}
		if err := file.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{
		`type\s+= "iam"`, `allow_gce_inference\s+= false`, `add_group_aliases\s+= false`, `token_no_default_policy\s+= true`,
		`token_type\s+= "service"`, `iam_alias\s+= "unique_id"`, `default\s+= 300\b`, `default\s+= \["admin"\]`, `max_jwt_exp\s+= var.max_jwt_exp`,
	} {
		if !regexp.MustCompile(want).Match(text.Bytes()) {
			t.Errorf("module admin does not say %s any more: try what it says now", want)
		}
	}
	if said := role("a"); said["max_jwt_exp"] != 300 {
		t.Errorf("the role has %v, want what the module says", said)
	}
}

func TestAVaultThatLetsInTheWrongOnesIsSeen(t *testing.T) {
	good := func() Trial {
		return Trial{Version: "v", Logins: []Login{
			{What: "an admin", Admit: true, Status: http.StatusOK, Policies: []string{"admin"}},
			{What: "somebody", Status: http.StatusBadRequest, Reason: "no"},
		}}
	}
	if err := good().Judge(); err != nil {
		t.Errorf("as it should be: %v", err)
	}
	for want, spoil := range map[string]func(*Trial){
		"somebody got a token": func(b *Trial) { b.Logins[1].Status = http.StatusOK },
		"an admin got status":  func(b *Trial) { b.Logins[0].Status = http.StatusForbidden },
		"want admin alone":     func(b *Trial) { b.Logins[0].Policies = []string{"admin", "default"} },
		"did not answer":       func(b *Trial) { b.Logins[1].Status = 0 },
		"shows nothing":        func(b *Trial) { b.Logins = b.Logins[1:] },
	} {
		broken := good()
		spoil(&broken)
		if err := broken.Judge(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// On the real auth method, if there is a Vault at hand.
func TestAdmins(t *testing.T) {
	binary := os.Getenv("VAULT_BINARY")
	if binary == "" {
		var err error
		if binary, err = exec.LookPath("vault"); err != nil {
			t.Skip("no vault binary: set VAULT_BINARY, or put one into PATH")
		}
	}
	trial, err := Admins(t.Context(), binary, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	var table bytes.Buffer
	if err := trial.Table(&table); err != nil {
		t.Fatal(err)
	}
	t.Log("\n" + table.String())
	if err := trial.Judge(); err != nil {
		t.Error(err)
	}
	if len(trial.Logins) != len(people{admin: &account{}, left: &account{}, stranger: &account{}}.tries()) {
		t.Errorf("%d logins were tried", len(trial.Logins))
	}
}
