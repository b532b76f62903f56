package ops

import (
	"encoding/hex"
	"strings"
	"testing"
	"testing/fstest"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/vaultproof/vaultproof/pkg/leak"
	"github.com/vaultproof/vaultproof/pkg/report"
)

// leftovers is the directory of a run with one fault on one pod.
func leftovers() fstest.MapFS {
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	return fstest.MapFS{
		"timeline.ndjson": file(`{"at":"2026-01-02T11:59:58Z","kind":"op","subject":"read","value":"ok"}
{"at":"2026-01-02T11:59:58Z","kind":"leader","subject":"vault-0","value":"active"}
{"at":"2026-01-02T11:59:58Z","kind":"seal","subject":"vault-0","value":"unsealed"}
{"at":"2026-01-02T12:00:00Z","kind":"fault","subject":"RES-01#1","value":"injecting"}
{"at":"2026-01-02T12:00:01Z","kind":"fault","subject":"RES-01#1","value":"injected"}
{"at":"2026-01-02T12:00:02Z","kind":"fault","subject":"RES-01#1","value":"witnessed"}
{"at":"2026-01-02T12:00:03Z","kind":"fault","subject":"RES-01#1","value":"recovered"}
`),
		"bundle/events.txt":              file("Normal Pulled"),
		"bundle/raft-configuration.yaml": file("config: {}"),
		"bundle/vault-0.yaml":            file("kind: Pod"),
		"bundle/vault-0.vault.log":       file("core: vault is unsealed"),
		"bundle/vault-0.bootstrap.log":   file(`{"msg":"state serving"}`),
	}
}

var onePod = []corev1.Pod{{
	ObjectMeta: metav1.ObjectMeta{Name: "vault-0"},
	Status:     corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{Name: "vault"}, {Name: "bootstrap"}}},
}}

func TestComplete(t *testing.T) {
	struck := report.Fault{ID: "RES-01#1", Kind: "pod-delete", Target: "vault-0", Witness: "gone", RecoveredAt: noon, Phases: report.Phases{Detected: new(float64)}}
	for name, c := range map[string]struct {
		change func(fstest.MapFS)
		pods   []corev1.Pod
		faults []report.Fault
		want   string
	}{
		"all there": {nil, onePod, []report.Fault{struck}, ""},
		"no fault":  {nil, onePod, nil, ""},
		"no events": {func(d fstest.MapFS) { delete(d, "bundle/events.txt") }, onePod, nil, "lacks bundle/events.txt; want"},
		"no log": {func(d fstest.MapFS) {
			delete(d, "bundle/vault-0.vault.log")
			d["bundle/vault-0.vault.missing.txt"] = &fstest.MapFile{Data: []byte("the node is off\n")}
		}, onePod, nil, "lacks bundle/vault-0.vault.log (the node is off)"},
		"an empty log":      {func(d fstest.MapFS) { d["bundle/vault-0.vault.log"] = &fstest.MapFile{} }, onePod, nil, "bundle/vault-0.vault.log (it is empty)"},
		"no raft state":     {func(d fstest.MapFS) { delete(d, "bundle/raft-configuration.yaml") }, onePod, nil, "lacks bundle/raft-configuration.yaml"},
		"no manifest":       {func(d fstest.MapFS) { delete(d, "bundle/vault-0.yaml") }, onePod, nil, "lacks bundle/vault-0.yaml"},
		"no timeline":       {func(d fstest.MapFS) { delete(d, "timeline.ndjson") }, onePod, nil, "lacks timeline.ndjson"},
		"a broken timeline": {func(d fstest.MapFS) { d["timeline.ndjson"].Data = []byte("{\n{}\n") }, onePod, nil, "timeline.ndjson cannot be read again"},
		"another fault":     {nil, onePod, []report.Fault{{ID: "RES-02#1", Kind: "process-kill", Target: "vault-1"}}, `the step "injecting" of fault RES-02#1 (process-kill of vault-1)`},
		"a step is missing": {func(d fstest.MapFS) {
			d["timeline.ndjson"].Data = []byte(strings.ReplaceAll(string(d["timeline.ndjson"].Data), "recovered", "forgotten"))
		}, onePod, []report.Fault{struck}, `the step "recovered" of fault RES-01#1`},
		"no load": {func(d fstest.MapFS) {
			d["timeline.ndjson"].Data = []byte(strings.ReplaceAll(string(d["timeline.ndjson"].Data), `"kind":"op"`, `"kind":"note"`))
		}, onePod, []report.Fault{struck}, `lacks any event of kind "op" in timeline.ndjson`},
		"no pods": {nil, nil, nil, "lacks any Vault pod"},
	} {
		dir := leftovers()
		if c.change != nil {
			c.change(dir)
		}
		err := complete(dir, c.pods, c.faults)
		if (c.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", name, err, c.want)
		}
	}
}

func TestRedacted(t *testing.T) {
	share := []byte("0123456789abcdef0123456789abcdef!")
	scanner, err := leak.New(leak.Needle{Name: "unseal-share-0", Value: share})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ text, want string }{
		"clean":            {"nothing", ""},
		"a share, in hex":  {"x " + hex.EncodeToString(share), "unseal-share-0 (hex"},
		"an unknown token": {"token hvs.CAESIHexampleexample", "something of a Vault token's form in 1 lines of bundle/vault-0.vault.log"},
	} {
		dir := leftovers()
		dir["bundle/vault-0.vault.log"].Data = []byte(c.text)
		files, err := scanFiles(dir, scanner)
		if err != nil || len(files) != len(dir) {
			t.Fatalf("%s: %d files scanned, error %v", name, len(files), err)
		}
		err = redacted(files)
		if (c.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", name, err, c.want)
		}
	}
}
