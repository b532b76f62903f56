package ops

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/vaultproof/vaultproof/pkg/leak"
)

func TestHashed(t *testing.T) {
	with := func(raw string) device {
		d := fileDevice("file-audit", "/audit.log")
		if raw != "" {
			d.options["log_raw"] = raw
		}
		return d
	}
	for name, c := range map[string]struct {
		devices []device
		want    string
	}{
		"by default":    {[]device{with("")}, ""},
		"off":           {[]device{with("false")}, ""},
		"on":            {[]device{with(""), with("true")}, "audit device file-audit (file /audit.log) has log_raw=true, want false"},
		"on, otherwise": {[]device{with("1")}, "log_raw=1"},
		"nonsense":      {[]device{with("maybe")}, "log_raw=maybe"},
		"no device":     {nil, "no audit device"},
	} {
		err := hashed(c.devices)
		if (c.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", name, err, c.want)
		}
	}
}

func TestClearSettings(t *testing.T) {
	for name, c := range map[string]struct {
		settings clearSettings
		want     string
	}{
		"Vault's own":     {clearSettings{headers: map[string]bool{"user-agent": false, "x-correlation-id": false}, keys: map[string][]string{"secret/": nil}}, ""},
		"a hashed header": {clearSettings{headers: map[string]bool{"X-Vault-Token": true}}, ""},
		"a clear header":  {clearSettings{headers: map[string]bool{"X-Vault-Token": false}}, "records header X-Vault-Token as it is"},
		"a harmless key":  {clearSettings{keys: map[string][]string{"auth/kubernetes/": {"role"}}}, ""},
		"a login's JWT":   {clearSettings{keys: map[string][]string{"auth/kubernetes/": {"role", "jwt"}}}, `mount auth/kubernetes/ has "jwt" among its audit_non_hmac keys`},
		"a mount's data":  {clearSettings{keys: map[string][]string{"secret/": {"Data"}}}, `mount secret/ has "Data"`},
	} {
		err := c.settings.judge()
		if (c.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", name, err, c.want)
		}
	}
}

func TestUnreadable(t *testing.T) {
	m := mark{name: "vaultproof-audit-x", hmac: map[string]string{"file-audit": "hmac-sha256:aaaa", "file-stdout": "hmac-sha256:bbbb"}}
	with := func(device, pod, line string) recordsOf {
		return recordsOf{scanned: scanned{bytes: 9}, device: device, pod: pod, marked: []string{line}}
	}
	file := with("file-audit", "vault-0", `{"path":"cubbyhole/vaultproof-audit-x","data":{"value":"hmac-sha256:aaaa"}}`)
	out := with("file-stdout", "vault-0", `{"path":"cubbyhole/vaultproof-audit-x","data":{"value":"hmac-sha256:bbbb"}}`)
	empty := recordsOf{device: "file-audit", pod: "vault-1"}
	dirty := recordsOf{device: "file-audit", pod: "vault-1", scanned: scanned{found: []leak.Finding{{Needle: "unseal-share-0", Encoding: "hex"}}}}
	for name, c := range map[string]struct {
		records []recordsOf
		want    string
	}{
		"hashed in both":         {[]recordsOf{file, out, empty}, ""},
		"a share on a standby":   {[]recordsOf{file, out, dirty}, "in the records of audit device file-audit on pod vault-1"},
		"a token's form":         {[]recordsOf{file, out, {device: "file-stdout", pod: "vault-2", scanned: scanned{tokens: 3}}}, "a Vault token's form in 3 lines of the records of audit device file-stdout on pod vault-2"},
		"one device has it not":  {[]recordsOf{file, {device: "file-stdout", pod: "vault-0", scanned: scanned{bytes: 9}}}, "no pod's record of audit device file-stdout holds the canary"},
		"without its hash":       {[]recordsOf{with("file-audit", "vault-0", `{"path":"cubbyhole/vaultproof-audit-x"}`)}, "device file-audit holds the canary request with its HMAC"},
		"another device's hash":  {[]recordsOf{with("file-audit", "vault-0", `"hmac-sha256:bbbb"`)}, "device file-audit"},
		"only empty files exist": {[]recordsOf{empty}, "or it has a gap"},
	} {
		err := unreadable(c.records, m)
		if (c.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", name, err, c.want)
		}
	}
}

func TestWhatWasNotReadIsToldOf(t *testing.T) {
	m := mark{name: "vaultproof-audit-x", hmac: map[string]string{"file-audit": "hmac-sha256:aaaa"}}
	good := recordsOf{device: "file-audit", pod: "vault-0", marked: []string{"vaultproof-audit-x hmac-sha256:aaaa"}}
	dirty := recordsOf{device: "file-audit", pod: "vault-1", scanned: scanned{tokens: 1}}
	for name, c := range map[string]struct {
		found search
		want  error
		text  string
	}{
		"all was read":               {search{records: []recordsOf{good}}, nil, ""},
		"one device is out of reach": {search{records: []recordsOf{good}, unread: []string{"audit device socket (socket 10.0.0.1:90): out of reach"}}, errUnread, "socket 10.0.0.1:90"},
		"every one is":               {search{unread: []string{"audit device socket"}}, errUnread, "audit device socket"},
		"there is nothing":           {search{}, errUnread, "no Vault pod"},
		"a gap":                      {search{records: []recordsOf{{device: "file-audit", pod: "vault-0"}}}, errGap, "audit device file-audit"},
		"a token beside all that":    {search{records: []recordsOf{good, dirty}, unread: []string{"audit device socket"}}, nil, "a Vault token's form in 1 lines"},
	} {
		err := c.found.judge(m)
		if (c.text == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.text) ||
			errors.Is(err, errUnread) != (c.want == errUnread) || errors.Is(err, errGap) != (c.want == errGap) {
			t.Errorf("%s: error %v, want %v with %q", name, err, c.want, c.text)
		}
	}
}

func TestScanRecords(t *testing.T) {
	secret := "QYPVKXJ3RNZ5TQW2LMHD7S4EFG"
	scanner, err := leak.New(leak.Needle{Name: "canary", Value: []byte(secret)})
	if err != nil {
		t.Fatal(err)
	}
	text := `{"path":"cubbyhole/vaultproof-audit-x"}` + "\n" + `{"token":"hvs.CAESIHexampleexample","value":"` + secret + `"}` + "\n"
	records, err := scanRecords(scanner, "vaultproof-audit-x", func(w io.Writer) error {
		_, err := io.WriteString(w, text)
		return err
	})
	if err != nil || len(records.found) != 1 || records.tokens != 1 || len(records.marked) != 1 || records.bytes != int64(len(text)) {
		t.Errorf("records %+v, error %v", records, err)
	}
	if records.begins || records.first != "" {
		t.Errorf("records without a beginning: %+v", records)
	}
	log := banner + ":\n" + `{"@timestamp":"2026-01-02T12:00:00Z"}` + "\n" + `{"time":"2026-01-02T12:00:01Z"}` + "\n"
	records, err = scanRecords(scanner, "x", func(w io.Writer) error {
		_, err := io.WriteString(w, log)
		return err
	})
	if err != nil || !records.begins || records.first != "2026-01-02T12:00:00Z" {
		t.Errorf("a container's log from its beginning: %+v, error %v", records, err)
	}
	if records, err = scanRecords(scanner, "x", func(io.Writer) error { return errOutOfReach }); !errors.Is(err, errOutOfReach) {
		t.Errorf("what cannot be read: %+v, error %v", records, err)
	}
}
