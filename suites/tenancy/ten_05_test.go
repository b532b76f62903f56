package tenancy

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vaultproof/vaultproof/pkg/leak"
	"github.com/vaultproof/vaultproof/pkg/tenancy"
	"github.com/vaultproof/vaultproof/pkg/terraform"
	"github.com/vaultproof/vaultproof/pkg/terraform/terraformtest"
)

const (
	provisionerToken = "hvs.CAESIMadeUpForThisTestAndNothingElse"
	reviewerToken    = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJrdWJlcm5ldGVzIn0.c2lnbmF0dXJlLW9mLW5vYm9keQ"
)

// left is a workspace with files as Terraform leaves them.
func left(t *testing.T, files map[string][]byte) *terraform.Workspace {
	t.Helper()
	w := terraformtest.Open(t, terraform.Config{
		Module: leaky,
		Vault:  terraform.Vault{Address: "https://vault.example.com", Token: func(context.Context) ([]byte, error) { return nil, nil }},
	})
	for name, content := range files {
		path := filepath.Join(w.Dir(), name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

func archive(t *testing.T, text string) []byte {
	t.Helper()
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	file, err := z.Create("tfstate")
	if err == nil {
		_, err = file.Write([]byte(text))
	}
	if err == nil {
		err = z.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestSecretsInWhatTerraformLeaves(t *testing.T) {
	search, err := canaries{}.search([]leak.Needle{{Name: "provisioner-token", Value: []byte(provisionerToken)}})
	if err != nil {
		t.Fatal(err)
	}
	clean := map[string][]byte{
		terraform.StateFile: []byte(`{"version": 4, "resources": []}`), terraform.PlanFile: archive(t, `{"version": 4}`),
		terraform.LockFile: []byte("# lock"), terraform.LogFile: []byte("== terraform plan\nNo changes."),
	}
	for name, c := range map[string]struct {
		file    string
		content []byte
		want    string
	}{
		"clean":                          {terraform.LogFile, []byte("No changes."), ""},
		"token in the state":             {terraform.StateFile, []byte(`{"token": "` + provisionerToken + `"}`), "module/terraform.tfstate holds provisioner-token, what looks like a token of Vault"},
		"token in the backup, encoded":   {terraform.StateFile + ".backup", []byte(base64.StdEncoding.EncodeToString([]byte(provisionerToken))), "module/terraform.tfstate.backup holds provisioner-token"},
		"reviewer's token in the plan":   {terraform.PlanFile, archive(t, `{"token_reviewer_jwt": "`+reviewerToken+`"}`), "module/last.tfplan holds what looks like a JSON web token"},
		"child token in the log":         {terraform.LogFile, []byte("X-Vault-Token: hvs.CAESISomeOtherTokenThatIsNowhere"), "commands.log holds what looks like a token of Vault"},
		"key in .terraform":              {"module/.terraform/terraform.tfstate", []byte("-----BEGIN RSA PRIVATE KEY-----"), "module/.terraform/terraform.tfstate holds what looks like a private key"},
		"an example in a provider":       {terraform.ProvidersDir + "/registry/provider", []byte("such as " + reviewerToken), ""},
		"the token in a provider's file": {terraform.ProvidersDir + "/registry/provider", []byte(provisionerToken), "holds provisioner-token"},
	} {
		files := map[string][]byte{}
		for file, content := range clean {
			files[file] = content
		}
		files[c.file] = c.content
		seen, err := search.workspace(left(t, files))
		if err == nil {
			err = seen.whole(terraform.StateFile, terraform.PlanFile, terraform.LockFile, terraform.LogFile)
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		err = seen.clean(tenancy.NewTenant("a"))
		judged(t, name, err, c.want)
		if err != nil && (strings.Contains(err.Error(), provisionerToken) || strings.Contains(err.Error(), reviewerToken)) {
			t.Errorf("%s: the secret is in the message", name)
		}
	}
	delete(clean, terraform.PlanFile)
	seen, err := search.workspace(left(t, clean))
	if err != nil {
		t.Fatal(err)
	}
	if err := seen.whole(terraform.StateFile, terraform.PlanFile); err == nil || !strings.Contains(err.Error(), "left no module/last.tfplan") {
		t.Errorf("without a plan to search: %v", err)
	}
}

func TestASearchThatMissesTheControlSaysSo(t *testing.T) {
	c := newCanaries()
	search, err := c.search(nil)
	if err != nil {
		t.Fatal(err)
	}
	all := c["a token of Vault"] + " " + c["a JSON web token"] + " " + c["a share in custody"]
	files := map[string][]byte{terraform.StateFile: []byte(all), terraform.PlanFile: archive(t, all), terraform.LogFile: []byte(all)}
	seen, err := search.workspace(left(t, files))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.found(seen); err != nil {
		t.Errorf("all is there: %v", err)
	}
	files[terraform.PlanFile] = archive(t, c["a token of Vault"]+" "+c["a JSON web token"])
	if seen, err = search.workspace(left(t, files)); err != nil {
		t.Fatal(err)
	}
	if err := c.found(seen); err == nil || !strings.Contains(err.Error(), "missed a share in custody") {
		t.Errorf("with one missing: %v", err)
	}
}

// TestTheControlLeaks: with a real Terraform. It asks no Vault.
func TestTheControlLeaks(t *testing.T) {
	w := terraformtest.Open(t, terraform.Config{
		Tool: terraformtest.Tool(t), Module: leaky, Variables: map[string]any{"canaries": map[string]string{}},
		Vault: terraform.Vault{Address: "https://192.0.2.1", Token: func(context.Context) ([]byte, error) { return []byte("none"), nil }},
	})
	c := newCanaries()
	search, err := c.search(nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.control(t.Context(), w, search); err != nil {
		t.Error(err)
	}
}
