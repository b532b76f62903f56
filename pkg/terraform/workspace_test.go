package terraform

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
)

// token of the tests.
const token = "hvs.the-token-of-this-test"

// fake is a tool that writes down how it was called, and says what script makes it say.
func fake(t *testing.T, script string) Tool {
	t.Helper()
	path := filepath.Join(t.TempDir(), "terraform")
	text := `#!/bin/sh
if [ "$1" = version ]; then echo '{"terraform_version":"1.11.4","provider_selections":{}}'; exit 0; fi
{ echo "args: $*"; env; } >> "$HOME/calls"
` + script
	if err := os.WriteFile(path, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	return Tool{Binary: path}
}

func open(t *testing.T, config Config) *Workspace {
	t.Helper()
	if config.Module == nil {
		config.Module = fstest.MapFS{"main.tf": {Data: []byte("# nothing")}, "tests/main.tftest.hcl": {Data: []byte("# none of its business")}}
	}
	if config.Vault.Token == nil {
		config.Vault.Token = func(context.Context) ([]byte, error) { return []byte(token), nil }
	}
	if config.Vault.Address == "" {
		config.Vault.Address = "https://vault.example.com"
	}
	w, err := Open(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// calls are what the fake tool wrote down.
func calls(t *testing.T, w *Workspace) string {
	t.Helper()
	text, err := os.ReadFile(w.path(homeDir, "calls"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestTheTokenIsInTheEnvironmentAlone(t *testing.T) {
	t.Setenv("VAULT_TOKEN", "hvs.the-users-own-token")
	t.Setenv("TF_LOG", "TRACE")
	t.Setenv("TF_VAR_name", "somebody else's")
	mirror := t.TempDir()
	tool := fake(t, "")
	tool.Mirror = mirror
	w := open(t, Config{Tool: tool, Vault: Vault{ServerName: "vault.example.com", CA: []byte("PEM")}, Variables: map[string]any{"name": "a"}})
	if err := w.Apply(t.Context()); err != nil {
		t.Fatal(err)
	}
	seen := calls(t, w)
	for _, want := range []string{
		"args: init ", "args: apply ", "\nVAULT_TOKEN=" + token + "\n", "\nVAULT_ADDR=https://vault.example.com\n", "\nVAULT_TLS_SERVER_NAME=vault.example.com\n",
		"\nVAULT_CACERT=" + w.path(authorityFile) + "\n", "\nVAULT_SKIP_VERIFY=false\n", "\nCHECKPOINT_DISABLE=1\n", "\nTF_CLI_CONFIG_FILE=" + w.path(settingsFile) + "\n",
	} {
		if !strings.Contains(seen, want) {
			t.Errorf("the tool did not get %q; it saw\n%s", want, seen)
		}
	}
	for _, not := range []string{"hvs.the-users-own-token", "TRACE", "somebody else's"} {
		if strings.Contains(seen, not) {
			t.Errorf("the tool got %q from the user's environment", not)
		}
	}
	for line := range strings.Lines(seen) {
		if strings.HasPrefix(line, "args: ") && strings.Contains(line, token) {
			t.Errorf("the token is an argument: %s", line)
		}
	}
	if err := os.Remove(w.path(homeDir, "calls")); err != nil {
		t.Fatal(err)
	}
	files, err := w.Files()
	if err != nil || len(files) < 4 {
		t.Fatalf("files %v, error %v", files, err)
	}
	for _, name := range files {
		text, err := os.ReadFile(w.path(name))
		if err != nil || strings.Contains(string(text), token) {
			t.Errorf("%s holds the token, or cannot be read: %v", name, err)
		}
	}
	settings, err := os.ReadFile(w.path(settingsFile))
	if err != nil || !strings.Contains(string(settings), `path = "`+mirror+`"`) || strings.Contains(string(settings), "direct") {
		t.Errorf("settings %s (%v), want the mirror alone", settings, err)
	}
	if _, err := os.Stat(w.path(moduleDir, "tests")); err == nil {
		t.Error("the module's tests are laid out as well")
	}
}

func TestNobodyElseCanReadIt(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "kept")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	w := open(t, Config{Tool: fake(t, "umask 022; mkdir -p .terraform; echo state > terraform.tfstate; echo lock > .terraform/x"), Dir: dir})
	if err := w.Apply(t.Context()); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]os.FileMode{
		".": 0o700, "module": 0o700, "module/.terraform": 0o700, "module/terraform.tfstate": 0o600, "module/.terraform/x": 0o600, logFile: 0o600,
	} {
		info, err := os.Stat(w.path(path))
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%s has mode %o, want %o", path, got, want)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(w.path(moduleDir, "terraform.tfstate")); err != nil {
		t.Errorf("a directory that was given is removed with its state: %v", err)
	}
	again := open(t, Config{Tool: fake(t, ""), Dir: dir})
	if _, err := os.Stat(again.path(moduleDir, "terraform.tfstate")); err != nil {
		t.Errorf("opened again, its state is gone: %v", err)
	}
}

func TestFailuresSayWhatWasDone(t *testing.T) {
	for name, c := range map[string]struct {
		script string
		want   []string
	}{
		"init":  {`[ "$1" != init ] || { echo "Error: no provider" >&2; exit 1; }`, []string{"terraform apply: getting the providers", "no provider"}},
		"apply": {`[ "$1" != apply ] || { echo "Error: permission denied" >&2; exit 1; }`, []string{"terraform apply: ", "permission denied"}},
		"token": {`[ "$1" != apply ] || { echo "Error: bad token $VAULT_TOKEN" >&2; exit 1; }`, []string{"bad token [redacted]"}},
	} {
		w := open(t, Config{Tool: fake(t, c.script)})
		err := w.Apply(t.Context())
		for _, want := range c.want {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %q", name, err, want)
			}
		}
		if err != nil && strings.Contains(err.Error(), token) {
			t.Errorf("%s: the token is in the error", name)
		}
	}
	gone := errors.New("custody is away")
	w := open(t, Config{Tool: fake(t, ""), Vault: Vault{Token: func(context.Context) ([]byte, error) { return nil, gone }}})
	if err := w.Apply(t.Context()); !errors.Is(err, gone) {
		t.Errorf("without a token: %v", err)
	}
}

// The first apply dies after Vault made a mount, so the state does not know it.
func TestAnInterruptedApplyIsTakenOver(t *testing.T) {
	const script = `
case "$1" in
apply)  if [ ! -e imported ]; then echo "Error: path is already in use at tenant-a-kv/" >&2; exit 1; fi ;;
plan)   [ -e imported ] || exit 2 ;;
show)   cat <<'EOT'
{"format_version":"1.2","terraform_version":"1.11.4","resource_changes":[
 {"address":"vault_mount.kv","mode":"managed","type":"vault_mount","name":"kv","change":{"actions":["create"],"before":null,"after":{"path":"tenant-a-kv"}}},
 {"address":"vault_mount.transit","mode":"managed","type":"vault_mount","name":"transit","change":{"actions":["create"],"before":null,"after":{"path":"tenant-a-transit"}}},
 {"address":"vault_policy.app","mode":"managed","type":"vault_policy","name":"app","change":{"actions":["create"],"before":null,"after":{"name":"tenant-a-app"}}}]}
EOT
;;
import) case "$*" in
  *"vault_mount.kv tenant-a-kv") touch imported ;;
  *) echo "Error: Cannot import non-existent remote object" >&2; exit 1 ;;
  esac ;;
esac`
	w := open(t, Config{Tool: fake(t, script)})
	if err := w.Apply(t.Context()); err == nil || strings.Contains(calls(t, w), "args: import") {
		t.Fatalf("the first apply: %v; it must fail, and take nothing over that is not its own", err)
	}
	if err := w.Apply(t.Context()); err != nil {
		t.Fatalf("the next apply does not converge: %v", err)
	}
	if seen := calls(t, w); strings.Contains(seen, "vault_policy.app") {
		t.Errorf("what can be written twice is imported too:\n%s", seen)
	}
	before := strings.Count(calls(t, w), "args: plan")
	if err := w.Apply(t.Context()); err != nil || strings.Count(calls(t, w), "args: plan") != before {
		t.Errorf("an apply after one that ended well looks for what that left (%v)", err)
	}
}

func TestPlanTellsChangesWithoutTheirValues(t *testing.T) {
	const script = `
case "$1" in
plan) exit 2 ;;
show) cat <<'EOT'
{"format_version":"1.2","terraform_version":"1.11.4","resource_changes":[
 {"address":"vault_generic_endpoint.role","mode":"managed","type":"vault_generic_endpoint","name":"role","change":{"actions":["update"],
  "before":{"path":"p","data_json":"{\"token_policies\":[\"hvs.secret-of-somebody\"],\"audience\":\"a\"}"},"after":{"path":"p","data_json":"{\"token_policies\":[\"b\"],\"audience\":\"a\"}"}}},
 {"address":"vault_policy.app","mode":"managed","type":"vault_policy","name":"app","change":{"actions":["no-op"],"before":{},"after":{}}},
 {"address":"vault_mount.kv","mode":"managed","type":"vault_mount","name":"kv","change":{"actions":["create"],"before":null,"after":{"path":"tenant-a-kv"}}}]}
EOT
;;
esac`
	w := open(t, Config{Tool: fake(t, script)})
	changes, err := w.Plan(t.Context())
	if err != nil || len(changes) != 2 {
		t.Fatalf("changes %v, error %v", changes, err)
	}
	if got, want := changes[0].String(), "update vault_generic_endpoint.role (token_policies)"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got, want := changes[1].String(), "create vault_mount.kv"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	log, err := os.ReadFile(w.path(logFile))
	if err != nil || strings.Contains(string(log), "secret-of-somebody") {
		t.Errorf("the log has the values of the plan (%v)", err)
	}
	same := open(t, Config{Tool: fake(t, "")})
	if changes, err := same.Plan(t.Context()); err != nil || len(changes) != 0 {
		t.Errorf("nothing differs: %v, error %v", changes, err)
	}
}

func TestWhatIsMissingIsSaid(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if _, err := Find("", ""); !errors.Is(err, ErrNoTool) {
		t.Errorf("no tool: %v", err)
	}
	if _, err := Find("/nowhere/terraform", ""); err == nil || !strings.Contains(err.Error(), "-terraform") {
		t.Errorf("a path that leads nowhere: %v", err)
	}
	if _, err := Find(fake(t, "").Binary, "/nowhere"); err == nil || !strings.Contains(err.Error(), "-terraform-mirror") {
		t.Errorf("a mirror that is not there: %v", err)
	}
	if _, err := Open(Config{Module: fstest.MapFS{}}); err == nil {
		t.Error("a workspace without a Vault is opened")
	}
	vault := Vault{Address: "https://vault.example.com", Token: func(context.Context) ([]byte, error) { return nil, nil }}
	if _, err := Open(Config{Module: fstest.MapFS{}, Vault: vault}); err == nil || !strings.Contains(err.Error(), "no .tf file") {
		t.Errorf("an empty module: %v", err)
	}
}
