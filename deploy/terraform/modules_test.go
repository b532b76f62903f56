package terraform

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// tool finds Terraform or OpenTofu, or skips the test.
func tool(t *testing.T) string {
	t.Helper()
	for _, name := range []string{os.Getenv("TERRAFORM_BINARY"), "terraform", "tofu"} {
		if name == "" {
			continue
		}
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Skip("no Terraform: put one into PATH, or set TERRAFORM_BINARY")
	return ""
}

// module is a copy of a module with its tests, ready for commands of the tool.
type module struct {
	t       *testing.T
	dir, rc string
	binary  string
}

// copyOf copies a module, and gets its provider from the mirror in TERRAFORM_MIRROR.
func copyOf(t *testing.T, name string) *module {
	t.Helper()
	mirror := os.Getenv("TERRAFORM_MIRROR")
	if mirror == "" {
		t.Skip("no provider for Vault: set TERRAFORM_MIRROR to a filesystem mirror (`vaultproof terraform` prints the path of one)")
	}
	m := &module{t: t, dir: t.TempDir(), binary: tool(t)}
	if err := os.CopyFS(m.dir, os.DirFS(name)); err != nil {
		t.Fatal(err)
	}
	m.rc = filepath.Join(t.TempDir(), "settings.tfrc")
	settings := "disable_checkpoint = true\nprovider_installation {\n  filesystem_mirror {\n    path = \"" + mirror + "\"\n  }\n}\n"
	if err := os.WriteFile(m.rc, []byte(settings), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := m.run("init", "-input=false", "-no-color"); err != nil {
		t.Fatalf("init: %v\n%s", err, out)
	}
	return m
}

func (m *module) run(args ...string) (string, error) {
	cmd := exec.CommandContext(m.t.Context(), m.binary, args...)
	cmd.Dir = m.dir
	// No Vault is asked; the provider only wants an address to be there.
	cmd.Env = append(os.Environ(), "TF_CLI_CONFIG_FILE="+m.rc, "CHECKPOINT_DISABLE=1", "VAULT_ADDR=https://192.0.2.1", "VAULT_TOKEN=none", "TF_LOG=")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// judges are the tests of what the module makes, and not of what it refuses, as arguments.
func (m *module) judges() (filters []string) {
	m.t.Helper()
	files, err := filepath.Glob(filepath.Join(m.dir, "tests", "*.tftest.hcl"))
	if err != nil {
		m.t.Fatal(err)
	}
	for _, file := range files {
		if name := filepath.Base(file); !strings.HasPrefix(name, "refused") {
			filters = append(filters, "-filter=tests/"+name)
		}
	}
	return filters
}

// edit puts one text in the place of another, in any of the module's files, and returns what
// undoes that.
func (m *module) edit(from, to string) (undo func()) {
	m.t.Helper()
	files, err := filepath.Glob(filepath.Join(m.dir, "*.tf"))
	if err != nil {
		m.t.Fatal(err)
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			m.t.Fatal(err)
		}
		if strings.Contains(string(text), from) {
			m.write(name, strings.Replace(string(text), from, to, 1))
			return func() { m.write(name, string(text)) }
		}
	}
	m.t.Fatalf("the module has no %q to be made wrong", from)
	return nil
}

func (m *module) write(name, text string) {
	m.t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		m.t.Fatal(err)
	}
}

func TestTheModulesAreThere(t *testing.T) {
	for _, name := range []string{Tenant, Admin, GKE} {
		files, err := Module(name)
		if err != nil {
			t.Fatal(err)
		}
		found, err := fs.Glob(files, "*")
		if err != nil || !slices.Contains(found, "variables.tf") || slices.Contains(found, "tests") {
			t.Errorf("module %s has %v (%v)", name, found, err)
		}
	}
	if _, err := Module("else"); err == nil {
		t.Error("a module that is not there is found")
	}
}

func TestFormat(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), tool(t), "fmt", "-check", "-diff", "-recursive", "-no-color", ".")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("`terraform fmt -recursive` would change (%v):\n%s", err, out)
	}
}

// TestModulesByTheirOwnTests: validate, and the .tftest.hcl files. Module gke needs the
// schema of Google's provider, which no mirror of ours has.
func TestModulesByTheirOwnTests(t *testing.T) {
	for _, name := range []string{Tenant, Admin} {
		t.Run(name, func(t *testing.T) {
			m := copyOf(t, name)
			for _, args := range [][]string{{"validate", "-no-color"}, {"test", "-no-color"}} {
				if out, err := m.run(args...); err != nil {
					t.Errorf("%s: %v\n%s", args[0], err, out)
				}
			}
		})
	}
}

// TestAWrongModuleIsCaught makes modules wrong, one way at a time: their own tests have to
// say what each would do.
func TestAWrongModuleIsCaught(t *testing.T) {
	for name, wrongs := range map[string][]struct{ from, to, says string }{
		Tenant: {
			{`path "${local.kv}/data/*"`, `path "tenant-*/data/*"`, "it could reach another tenant's"},
			{`path "${local.kv}/data/*"`, `path "secret/data/*"`, "it could reach another tenant's"},
			{`"lease_id" = ["${local.postgres}/creds/${local.role}/*"], "increment" = []`, `"lease_id" = [], "increment" = []`, "leases that are not its own"},
			{`path "${local.transit}/decrypt/app"`, `path "${local.transit}/export/encryption-key/app"`, "export or delete its transit key"},
			{`token_no_default_policy = true`, `token_no_default_policy = false`, "other policies than tenant-a-app"},
			{`audience                                 = var.audience`, `audience = ""`, "asks for no audience"},
			{`bound_service_account_namespaces = [local.namespace]`, `bound_service_account_namespaces = ["*"]`, "an account of the same name elsewhere"},
			{`bound_service_account_names = [var.service_account]`, `bound_service_account_names = ["*"]`, "other pods could log in"},
			{`token_period           = 0`, `token_period = 86400`, "live longer than token_max_ttl"},
			{`token_reviewer_jwt_set = false`, `token_reviewer_jwt = "eyJhbGciOi"`, "A reviewer JWT is part of the configuration"},
			{`disable_local_ca_jwt = var.review == "client"`, `disable_local_ca_jwt = false`, "its own pod's token"},
			{`  ignore_absent_fields = true

  # Everything`, `  ignore_absent_fields = true
  disable_read = true

  # Everything`, "drift would not be seen"},
			{`allowed_parameters = { "password" = [] }`, `allowed_parameters = { "*" = [] }`, "lead Vault to another server"},
			{`sslmode=verify-full`, `sslmode=require`, "not verified in full"},
			{`VALID UNTIL '{{expiration}}'`, ``, "outlive its lease"},
			{`allowed_roles           = [local.role]`, `allowed_roles = ["*"]`, "other roles than the tenant's own"},
		},
		Admin: {
			{`type                   = "iam"`, `type = "gce"`, "A machine can log in"},
			{`bound_service_accounts = sort(var.service_accounts)`, `bound_service_accounts = ["*"]`, "Other accounts than those listed"},
			{`{ iam_alias = "unique_id" }`, `{ iam_alias = "unique_id", credentials = "{}" }`, "credentials would be in the state"},
			{`token_explicit_max_ttl  = var.token_ttl`, `token_explicit_max_ttl = 0`, "renewed for ever"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := copyOf(t, name)
			for _, wrong := range wrongs {
				undo := m.edit(wrong.from, wrong.to)
				out, err := m.run(slices.Concat([]string{"test", "-no-color"}, m.judges())...)
				if said := strings.Join(strings.Fields(out), " "); err == nil || !strings.Contains(said, wrong.says) {
					t.Errorf("with %q its tests do not say %q (%v):\n%s", wrong.to, wrong.says, err, out)
				}
				undo()
			}
		})
	}
}

// TestAtlantis: each project has a workflow, and each of its stages reads the token by a
// command, so that it stands nowhere.
func TestAtlantis(t *testing.T) {
	text, err := fs.ReadFile(FS, "atlantis.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var config struct {
		Version  int
		Projects []struct{ Dir, Workspace, Workflow string }
		// Steps are words or maps of one key.
		Workflows map[string]map[string]struct{ Steps []any }
	}
	if err := yaml.Unmarshal(text, &config); err != nil {
		t.Fatal(err)
	}
	if config.Version != 3 || len(config.Projects) == 0 {
		t.Fatalf("read %+v", config)
	}
	for _, project := range config.Projects {
		if project.Workspace == "" || project.Workspace == "default" {
			t.Errorf("project %+v shares its state with others", project)
		}
		stages := config.Workflows[project.Workflow]
		if len(stages) != 2 {
			t.Fatalf("workflow %s has stages %v, want plan and apply", project.Workflow, stages)
		}
		for stage, s := range stages {
			if !readsToken(s.Steps) {
				t.Errorf("stage %s of workflow %s does not read VAULT_TOKEN by a command", stage, project.Workflow)
			}
		}
	}
}

// readsToken tells whether a step sets VAULT_TOKEN from what a command prints.
func readsToken(steps []any) bool {
	return slices.ContainsFunc(steps, func(step any) bool {
		fields, _ := step.(map[string]any)
		env, _ := fields["env"].(map[string]any)
		return env["name"] == "VAULT_TOKEN" && env["command"] != nil && env["value"] == nil
	})
}
