package ops

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/vault/api"

	"github.com/vaultproof/vaultproof/pkg/ceremony/vaulttest"
	"github.com/vaultproof/vaultproof/pkg/leak"
)

// TestAuditWithARealVault: what Vault records is clean and holds the canary's hash;
// with log_raw it holds the canary itself, and headers and keys as configured.
func TestAuditWithARealVault(t *testing.T) {
	v := vaulttest.Start(t)
	root := v.Root()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	enable := func(name string, options map[string]string) {
		t.Helper()
		options["file_path"] = filepath.Join(dir, name)
		must(root.Sys().EnableAuditWithOptions(name, &api.EnableAuditOptions{Type: "file", Options: options}))
	}
	enable("one", map[string]string{})
	enable("two", map[string]string{})
	c := clearText{root: root}
	judge := func() (settings, records error) {
		t.Helper()
		list, err := devices(t.Context(), root)
		must(err)
		must(redundant(list))
		s, err := readClearSettings(t.Context(), root)
		must(err)
		m, err := c.plant(t.Context())
		must(err)
		scanner, err := leak.New(leak.Needle{Name: "canary", Value: m.secret}, leak.Needle{Name: "root-token", Value: []byte(root.Token())})
		must(err)
		var all []recordsOf
		for _, d := range list {
			rec, err := scanRecords(scanner, m.name, func(w io.Writer) error {
				text, err := os.ReadFile(d.file())
				_, _ = w.Write(text)
				return err
			})
			must(err)
			rec.device, rec.pod = d.path, "vault-0"
			all = append(all, rec)
		}
		if settings = s.judge(); settings == nil {
			settings = hashed(list)
		}
		return settings, unreadable(all, m)
	}
	if settings, records := judge(); settings != nil || records != nil {
		t.Errorf("a clean Vault: %v; %v", settings, records)
	}

	must(root.Sys().Mount("kv", &api.MountInput{Type: "kv", Config: api.MountConfigInput{AuditNonHMACRequestKeys: []string{"value"}}}))
	settings, records := judge()
	if settings == nil || records != nil || !strings.Contains(settings.Error(), `mount kv/ has "value" among its audit_non_hmac keys`) {
		t.Errorf("a key in the clear: %v; %v", settings, records)
	}
	must(root.Sys().Unmount("kv"))

	_, err := root.Logical().Write("sys/config/auditing/request-headers/X-Vault-Token", map[string]any{"hmac": false})
	must(err)
	if settings, _ := judge(); settings == nil || !strings.Contains(strings.ToLower(settings.Error()), "records header x-vault-token as it is") {
		t.Errorf("a header in the clear: %v", settings)
	}
	_, err = root.Logical().Delete("sys/config/auditing/request-headers/X-Vault-Token")
	must(err)

	enable("raw", map[string]string{"log_raw": "true"})
	settings, records = judge()
	if settings == nil || !strings.Contains(settings.Error(), "audit device raw") {
		t.Errorf("log_raw: %v", settings)
	}
	if records == nil || !strings.Contains(records.Error(), "in the records of audit device raw on pod vault-0") {
		t.Errorf("records of log_raw: %v", records)
	}
}

// TestEnableAgain: a device that was disabled comes back as it was.
func TestEnableAgain(t *testing.T) {
	root := vaulttest.Start(t).Root()
	file := filepath.Join(t.TempDir(), "audit.log")
	before := device{path: "file-audit", kind: "file", options: map[string]string{"file_path": file, "hmac_accessor": "false"}, audit: &api.Audit{Description: "kept by the bootstrap sidecar"}}
	if err := before.enable(t.Context(), root); err != nil {
		t.Fatal(err)
	}
	list, err := devices(t.Context(), root)
	if err != nil || len(list) != 1 {
		t.Fatalf("devices %v, error %v", list, err)
	}
	if err := root.Sys().DisableAudit(list[0].path); err != nil {
		t.Fatal(err)
	}
	if err := list[0].enable(t.Context(), root); err != nil {
		t.Fatal(err)
	}
	again, err := devices(t.Context(), root)
	if err != nil || len(again) != 1 || again[0].String() != list[0].String() || again[0].options["hmac_accessor"] != "false" || again[0].audit.Description != before.audit.Description {
		t.Errorf("again %+v, error %v", again, err)
	}
}
