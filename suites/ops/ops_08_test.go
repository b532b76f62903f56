package ops

import (
	"encoding/base64"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/vaultproof/vaultproof/pkg/leak"
	"github.com/vaultproof/vaultproof/pkg/target"
)

func TestNotVerbose(t *testing.T) {
	for place, c := range map[string]struct {
		level string
		bad   bool
	}{
		"a": {"info", false}, "b": {"WARN", false}, "c": {"debug", true}, "d": {"Trace", true}, "e": {"2", true},
		"f": {"INFO-1", true}, "g": {"DEBUG+2", true}, "h": {"INFO+1", false}, "i": {"standard", false},
	} {
		if err := notVerbose(map[string]string{place: c.level}); (err != nil) != c.bad {
			t.Errorf("level %s: %v", c.level, err)
		}
	}
}

var both = &target.Target{Container: "vault", SidecarContainer: "bootstrap"}

func TestConfiguredLevels(t *testing.T) {
	spec := corev1.PodSpec{Containers: []corev1.Container{
		{Name: "bootstrap", Args: []string{"-peers=x", "-log-level=DEBUG-1"}, Env: []corev1.EnvVar{{Name: "LOG_LEVEL", Value: "warn"}, {Name: "VAULT_LOG_LEVEL", Value: "trace"}}},
		{Name: "other", Args: []string{"-log-level=trace"}},
		{Name: "vault", Command: []string{"/bin/vault", "server"}, Args: []string{"-log-level=debug"}, Env: []corev1.EnvVar{{Name: "VAULT_LOG_LEVEL", Value: "warn"}}},
	}}
	levels := configuredLevels(spec, levelVariables(both), map[string]string{
		"vault-config/vault.hcl": "# log_level = \"trace\"\nlog_level  = \"error\"\n",
		"vault-config/more.json": `{"log_level":"info"}`,
		"vault-ca/ca.crt":        "-----BEGIN CERTIFICATE-----",
	})
	for place, want := range map[string]string{
		"the arguments of container vault":     "debug",
		"the arguments of container bootstrap": "DEBUG-1",
		"LOG_LEVEL of container bootstrap":     "warn",
		"VAULT_LOG_LEVEL of container vault":   "warn",
		"ConfigMap vault-config/vault.hcl":     "error",
		"ConfigMap vault-config/more.json":     "info",
	} {
		if levels[place] != want {
			t.Errorf("%s: level %q, want %q", place, levels[place], want)
		}
	}
	if len(levels) != 6 {
		t.Errorf("levels %v, want 6: another container's is its own", levels)
	}
	if err := notVerbose(map[string]string{"the arguments of container bootstrap": "DEBUG-1"}); err == nil || !strings.Contains(err.Error(), "container bootstrap sets the log level DEBUG-1, want info") {
		t.Errorf("a verbose sidecar: %v", err)
	}
}

func TestCleanFindsAPlantedSecret(t *testing.T) {
	share := []byte("0123456789abcdef0123456789abcdef!")
	scanner, err := leak.New(leak.Needle{Name: "unseal-share-0", Value: share})
	if err != nil {
		t.Fatal(err)
	}
	line := `{"level":"debug","msg":"unsealing with ` + base64.StdEncoding.EncodeToString(share) + `"}`
	dirty := scanned{name: "vault-0/bootstrap", bytes: int64(len(line)), found: scanner.ScanBytes([]byte(line))}
	if err := clean([]scanned{dirty}, []string{dirty.name}); err == nil || !strings.Contains(err.Error(), "unseal-share-0 (base64") || !strings.Contains(err.Error(), "vault-0/bootstrap") {
		t.Errorf("a planted share: %v", err)
	} else if strings.Contains(err.Error(), base64.StdEncoding.EncodeToString(share)) {
		t.Error("the message itself holds the secret")
	}
}

func TestCleanWantsLogs(t *testing.T) {
	vault, sidecar := scanned{name: "vault-0/vault", bytes: 10}, scanned{name: "vault-0/bootstrap", bytes: 10}
	wanted := wantedLogs(both, []corev1.Pod{{ObjectMeta: metav1.ObjectMeta{Name: "vault-0"}}})
	for name, c := range map[string]struct {
		logs   []scanned
		wanted []string
		want   string
	}{
		"clean":                 {[]scanned{vault, sidecar}, wanted, ""},
		"the sidecar's empty":   {[]scanned{vault, {name: "vault-0/bootstrap"}}, wanted, "the log of vault-0/bootstrap holds no byte"},
		"the sidecar's absent":  {[]scanned{vault}, wanted, "the log of vault-0/bootstrap holds no byte"},
		"no logs":               {nil, wanted, "holds no byte"},
		"no pods":               {nil, nil, "no Vault pod"},
		"a token":               {[]scanned{vault, {name: "vault-0/bootstrap", bytes: 9, tokens: 2}}, wanted, "a Vault token's form in 2 lines of the log of vault-0/bootstrap"},
		"debug, wherever it is": {[]scanned{vault, {name: "vault-0/bootstrap", bytes: 9, debug: 3}}, wanted, "3 lines of the log of vault-0/bootstrap are of level DEBUG"},
	} {
		err := clean(c.logs, c.wanted)
		if (c.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", name, err, c.want)
		}
	}
}

func TestLinesAreReadAcrossWrites(t *testing.T) {
	text := `{"level":"INFO","msg":"token hvs.CAESIHexampleexample"}` + "\n" + `{"level":"DEBUG","msg":"x"}` + "\n" + `{"level":"INFO","msg":"hvs.short"}` + "\nhvb.AAAAAQexampleexample"
	scanner, err := leak.New(leak.Needle{Name: "canary", Value: []byte("0123456789abcdef0123456789abcdef!")})
	if err != nil {
		t.Fatal(err)
	}
	for _, reader := range []io.Reader{strings.NewReader(text), iotest.OneByteReader(strings.NewReader(text)), iotest.DataErrReader(strings.NewReader(text))} {
		log, err := scan(scanner, "vault-0/bootstrap", reader)
		if err != nil || log.tokens != 2 || log.debug != 1 || log.bytes != int64(len(text)) {
			t.Errorf("%T: %d tokens, %d debug lines, %d bytes, error %v", reader, log.tokens, log.debug, log.bytes, err)
		}
	}
	if _, err := scan(scanner, "vault-0/bootstrap", iotest.ErrReader(errors.New("connection reset"))); err == nil || !strings.Contains(err.Error(), "scanning vault-0/bootstrap: ") {
		t.Errorf("a log that breaks off: %v", err)
	}
}
