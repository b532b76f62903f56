package tls

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/onsi/ginkgo/v2"

	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/target"
)

// plainTimeout bounds one request in clear: an answer comes at once or never.
const plainTimeout = 10 * time.Second

// maxAnswer is how much of an answer is looked at, in bytes.
const maxAnswer = 64 << 10

var tls05 = conformance.Check{
	ID: "TLS-05", Area: area, Level: conformance.Must, Manner: conformance.Reads,
	Assertion: "no listener speaks plaintext, the one on loopback included",
	Source:    "vault-helm values.yaml global.tlsDisable; HashiCorp production hardening, end-to-end TLS",
	Observe:   "HTTP in clear to port 8200 of every pod, over its loopback; tls_disable in Vault's configuration files and sys/config/state/sanitized",
}

var _ = conformance.It(tls05, conformance.Conformance, func(ctx ginkgo.SpecContext, r *conformance.Case) error {
	pods, err := r.Target.Pods(ctx)
	if err != nil {
		return r.CannotTell(err)
	}
	if len(pods) == 0 {
		return errors.New("there is no Vault pod")
	}
	for _, pod := range pods {
		a, err := askInClear(ctx, r.Target, pod.Name)
		if err != nil {
			return r.CannotTell(err)
		}
		if err := refusesPlaintext(pod.Name, a); err != nil {
			return err
		}
	}
	files, err := r.Target.ConfigFiles(ctx)
	if err != nil {
		return r.CannotTell(err)
	}
	if err := noPlainListenerIn(files); err != nil {
		return err
	}
	// A standby forwards this question, so the answer is the active pod's; the
	// files above are what all pods share.
	secret, err := r.Target.ReadPrivileged(ctx, "sys/config/state/sanitized")
	if errors.Is(err, target.ErrNoPrivilege) {
		if mentionsListener(files) {
			return nil
		}
		return r.Inconclusive("no pod answers in clear on port %d, but which other listeners there are cannot be read: %w", target.VaultPort, err)
	}
	if err != nil {
		return r.CannotTell(err)
	}
	listeners, err := onlyTLSListeners(secret.Data)
	r.Measure("listeners_total", float64(listeners))
	return err
})

// answer is what came back from a request in clear.
type answer struct {
	status int // 0 if the connection was closed without an HTTP answer
	header http.Header
	body   string
}

// askInClear sends sys/health in plain HTTP to the API port of a pod. A
// connection that is closed without an answer is no error.
func askInClear(ctx context.Context, t *target.Target, pod string) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, plainTimeout)
	defer cancel()
	conn, err := t.DialPod(ctx, pod, target.VaultPort)
	if err != nil {
		return answer{}, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(plainTimeout)); err != nil {
		return answer{}, fmt.Errorf("setting a deadline on the connection to pod %s: %w", pod, err)
	}
	const request = "GET /v1/sys/health HTTP/1.1\r\nHost: vault\r\nConnection: close\r\n\r\n"
	if _, err := io.WriteString(conn, request); err != nil {
		return answer{}, fmt.Errorf("sending a request in clear to pod %s: %w", pod, err)
	}
	got, err := io.ReadAll(io.LimitReader(conn, maxAnswer))
	if err != nil && len(got) == 0 && strings.Contains(err.Error(), "refused") {
		return answer{}, fmt.Errorf("nothing listens on port %d of pod %s: %w", target.VaultPort, pod, err)
	}
	return parseAnswer(got), nil
}

// parseAnswer reads what may be HTTP, a TLS alert, or nothing.
func parseAnswer(raw []byte) answer {
	head, body, _ := strings.Cut(string(raw), "\r\n\r\n")
	lines := strings.Split(head, "\r\n")
	a := answer{body: body, header: http.Header{}}
	if version, rest, ok := strings.Cut(lines[0], " "); ok && strings.HasPrefix(version, "HTTP/") {
		code, _, _ := strings.Cut(rest, " ")
		a.status, _ = strconv.Atoi(code)
	}
	for _, line := range lines[1:] {
		if name, value, ok := strings.Cut(line, ":"); ok {
			a.header.Add(name, strings.TrimSpace(value))
		}
	}
	return a
}

// ofVault tells whether a Vault gave the answer.
func (a answer) ofVault() bool {
	for name := range a.header {
		if strings.HasPrefix(strings.ToLower(name), "x-vault-") {
			return true
		}
	}
	var health map[string]any
	return json.Unmarshal([]byte(a.body), &health) == nil && (health["initialized"] != nil || health["errors"] != nil)
}

// refusesPlaintext judges an answer to a request in clear. Go's TLS listener
// says in clear that it wants HTTPS, which is no answer of Vault.
func refusesPlaintext(pod string, a answer) error {
	switch {
	case a.ofVault():
		return fmt.Errorf("Vault in pod %s answered sys/health in clear with status %d on port %d, want no plaintext listener", pod, a.status, target.VaultPort)
	case a.status == 0, a.status == http.StatusBadRequest:
		return nil
	default:
		return fmt.Errorf("port %d of pod %s answered plain HTTP with status %d, want a TLS listener that refuses it", target.VaultPort, pod, a.status)
	}
}

// onlyTLSListeners judges the listeners in sys/config/state/sanitized and counts
// them.
func onlyTLSListeners(config map[string]any) (int, error) {
	listeners, ok := config["listeners"].([]any)
	if !ok || len(listeners) == 0 {
		return 0, errors.New("sys/config/state/sanitized names no listener")
	}
	var plain []string
	for _, entry := range listeners {
		block, _ := entry.(map[string]any)
		settings, _ := block["config"].(map[string]any)
		if settings == nil {
			return 0, errors.New("a listener in sys/config/state/sanitized has no config")
		}
		if isTrue(settings["tls_disable"]) {
			plain = append(plain, fmt.Sprintf("%v %v", block["type"], settings["address"]))
		}
	}
	if len(plain) > 0 {
		slices.Sort(plain)
		return 0, fmt.Errorf("sys/config/state/sanitized has tls_disable on listener %s, want TLS on every listener, loopback included", strings.Join(plain, ", "))
	}
	return len(listeners), nil
}

var (
	// tlsDisable matches the setting in HCL and JSON, outside of comments.
	tlsDisable = regexp.MustCompile(`(?m)(?:^|[{,])[ \t]*"?tls_disable"?[ \t]*[=:][ \t]*"?([A-Za-z0-9]+)"?`)
	listener   = regexp.MustCompile(`(?m)^[^#/\n]*\blistener\b`)
)

// noPlainListenerIn judges Vault's configuration files.
func noPlainListenerIn(files map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(files)) {
		for _, match := range tlsDisable.FindAllStringSubmatch(files[name], -1) {
			if isTrue(match[1]) {
				return fmt.Errorf("ConfigMap %s says %s, want TLS on every listener, loopback included", name, strings.Trim(match[0], "{, \t"))
			}
		}
	}
	return nil
}

func mentionsListener(files map[string]string) bool {
	for _, text := range files {
		if listener.MatchString(text) {
			return true
		}
	}
	return false
}

// isTrue knows the ways in which Vault's configuration says yes.
func isTrue(value any) bool {
	switch v := value.(type) {
	case bool:
		return v
	case string:
		yes, err := strconv.ParseBool(v)
		return yes || err != nil && v != ""
	case json.Number:
		return v.String() != "0"
	case float64:
		return v != 0
	case int:
		return v != 0
	default:
		return v != nil
	}
}
