package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/hashicorp/vault/api"
	"github.com/onsi/ginkgo/v2"

	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/target"
)

var boot09 = conformance.Check{
	ID: "BOOT-09", Area: area, Level: conformance.Must,
	Assertion: "sys/generate-root and sys/rekey are refused without a token, and enable_unauthenticated_access is empty",
	Source:    `Vault 2.0, important changes, "sys-endpoint-auth"`,
	Observe:   "PUT sys/generate-root/attempt and sys/rekey/init on every unsealed pod without a token, cancelled at once if one is accepted; enable_unauthenticated_access in sys/config/state/sanitized and in Vault's files",
	Since:     "2.0",
}

var _ = conformance.It(boot09, conformance.Conformance, func(ctx ginkgo.SpecContext, r *conformance.Case) error {
	states, err := r.Target.State(ctx)
	if err != nil {
		return r.CannotTell(err)
	}
	var answers []answer
	for _, s := range states {
		if !s.Unsealed() {
			continue
		}
		got, err := knock(ctx, r, s.Pod.Name)
		if err != nil {
			return r.CannotTell(err)
		}
		answers = append(answers, got...)
	}
	r.Measure("requests_total", float64(len(answers)))
	err = allRefused(answers)
	if errors.Is(err, errBlind) {
		return r.CannotTell(err)
	}
	if err != nil {
		return err
	}
	open, err := unauthenticated(ctx, r.Target)
	if errors.Is(err, target.ErrNoPrivilege) {
		return r.Skip("Vault's configuration cannot be read: %v", err)
	}
	if err != nil {
		return r.CannotTell(err)
	}
	return nothingOpen(open)
})

// door is a request that must need a token. Its body is a complete one, for a
// Vault that refuses an incomplete one did look at it.
type door struct {
	path, body string
	// cancel ends what was begun; a rekey takes the nonce of its beginning.
	cancel func(sys *api.Sys, ctx context.Context, nonce string) error
}

var doors = []door{
	{"sys/generate-root/attempt", `{}`, func(sys *api.Sys, ctx context.Context, _ string) error {
		return sys.GenerateRootCancelWithContext(ctx)
	}},
	{"sys/rekey/init", `{"secret_shares":1,"secret_threshold":1}`, (*api.Sys).RekeyCancelWithContextWithNonce},
}

// answer is what a pod said to a request without a token.
type answer struct {
	pod, path string
	status    int
	errors    []string
	nonce     string // of what was begun
}

// knock tries every door of a pod. What is accepted, though it must not be, is
// cancelled when the check is over.
func knock(ctx context.Context, r *conformance.Case, pod string) ([]answer, error) {
	client, done, err := r.Target.Pod(ctx, pod)
	if err != nil {
		return nil, err
	}
	defer done()
	var answers []answer
	for _, d := range doors {
		got, err := put(ctx, client, d)
		if err != nil {
			return nil, fmt.Errorf("asking pod %s: %w", pod, err)
		}
		got.pod = pod
		answers = append(answers, got)
		if got.accepted() {
			r.Defer(func(ctx context.Context) error { return closeAgain(ctx, r.Target, d, got) })
		}
	}
	return answers, nil
}

// put sends one request without a token.
func put(ctx context.Context, client *api.Client, d door) (answer, error) {
	client.ClearToken()
	response, err := client.Logical().WriteRawWithContext(ctx, d.path, []byte(d.body))
	if response != nil {
		defer response.Body.Close()
	}
	var refusal *api.ResponseError
	switch {
	case errors.As(err, &refusal):
		return answer{path: d.path, status: refusal.StatusCode, errors: refusal.Errors}, nil
	case response == nil:
		return answer{}, fmt.Errorf("PUT %s without a token: %w", d.path, err)
	}
	var begun struct{ Nonce string } // and nothing else of it: there is a one-time pad
	if err := response.DecodeJSON(&begun); err != nil && !errors.Is(err, io.EOF) {
		return answer{}, fmt.Errorf("reading the answer to PUT %s: %w", d.path, err)
	}
	return answer{path: d.path, status: response.StatusCode, nonce: begun.Nonce}, nil
}

func closeAgain(ctx context.Context, t *target.Target, d door, begun answer) error {
	client, done, err := t.Pod(ctx, begun.pod)
	if err != nil {
		return err
	}
	defer done()
	if err := d.cancel(client.Sys(), ctx, begun.nonce); err != nil {
		return fmt.Errorf("cancelling what pod %s began at %s without a token: %w", begun.pod, d.path, err)
	}
	return nil
}

func (a answer) accepted() bool { return a.status >= 200 && a.status < 300 }

// refused tells whether the answer is that a token is missing. Of status 400
// only one sort is: any other means that the request itself was looked at.
func (a answer) refused() bool {
	switch a.status {
	case http.StatusUnauthorized, http.StatusForbidden:
		return true
	case http.StatusBadRequest:
		return slices.ContainsFunc(a.errors, func(s string) bool { return strings.Contains(s, "missing client token") })
	}
	return false
}

// allRefused judges the answers. Redirects of standbys prove nothing by
// themselves; without any other answer to a request it is errBlind.
func allRefused(answers []answer) error {
	refusals := map[string]int{}
	for _, a := range answers {
		switch {
		case a.refused():
			refusals[a.path]++
		case a.status >= 300 && a.status < 400:
		case a.accepted():
			return fmt.Errorf("pod %s answers %d to PUT %s without a token, want 403: anybody who reaches Vault can begin it, and so hinder those who should (Vault 2.0, \"sys-endpoint-auth\")", a.pod, a.status, a.path)
		case a.status >= 500:
			return fmt.Errorf("%w: pod %s answers %d to PUT %s (%s)", errBlind, a.pod, a.status, a.path, strings.Join(a.errors, "; "))
		default:
			return fmt.Errorf("pod %s answers %d (%s) to PUT %s without a token, want 403: it looked at the request before asking who sent it (Vault 2.0, \"sys-endpoint-auth\")",
				a.pod, a.status, strings.Join(a.errors, "; "), a.path)
		}
	}
	for _, d := range doors {
		if refusals[d.path] == 0 {
			return fmt.Errorf("%w: no pod answered PUT %s itself", errBlind, d.path)
		}
	}
	return nil
}

var unauthenticatedFile = regexp.MustCompile(`(?m)(?:^|[{,])[ \t]*"?enable_unauthenticated_access"?[ \t]*[=:][ \t]*\[([^\]]*)\]`)

// unauthenticated collects what is open without a token, by where it says so.
func unauthenticated(ctx context.Context, t *target.Target) (map[string][]string, error) {
	files, err := t.ConfigFiles(ctx)
	if err != nil {
		return nil, err
	}
	open := openIn(files)
	state, err := readPrivileged(ctx, t, "sys/config/state/sanitized")
	if err != nil {
		return nil, err
	}
	open["sys/config/state/sanitized"] = texts(state["enable_unauthenticated_access"])
	return open, nil
}

// openIn reads enable_unauthenticated_access from Vault's files.
func openIn(files map[string]string) map[string][]string {
	open := map[string][]string{}
	for name, text := range files {
		for _, match := range unauthenticatedFile.FindAllStringSubmatch(text, -1) {
			for entry := range strings.SplitSeq(match[1], ",") {
				if entry = strings.Trim(entry, " \t\r\n\""); entry != "" {
					open["ConfigMap "+name] = append(open["ConfigMap "+name], entry)
				}
			}
		}
	}
	return open
}

// nothingOpen judges what is open without a token.
func nothingOpen(open map[string][]string) error {
	for _, place := range slices.Sorted(maps.Keys(open)) {
		if len(open[place]) > 0 {
			return fmt.Errorf("enable_unauthenticated_access in %s is %q, want it empty: open it for a ceremony only (Vault 2.0, \"sys-endpoint-auth\")", place, open[place])
		}
	}
	return nil
}

// errNothing: the path is readable, and empty.
var errNothing = errors.New("Vault has nothing there")

// readPrivileged reads a path with the provisioner token or, if that may not,
// with a root token made from the shares for it and revoked after.
func readPrivileged(ctx context.Context, t *target.Target, path string) (map[string]any, error) {
	secret, err := readAsProvisioner(ctx, t, path)
	if errors.Is(err, target.ErrNoPrivilege) {
		err = t.WithRoot(ctx, func(ctx context.Context, root *api.Client) (err error) {
			secret, err = root.Logical().ReadWithContext(ctx, path)
			return err
		})
	}
	if err == nil && secret == nil {
		err = errNothing
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	return secret.Data, nil
}

func readAsProvisioner(ctx context.Context, t *target.Target, path string) (*api.Secret, error) {
	client, done, err := activeClient(ctx, t)
	if err != nil {
		return nil, err
	}
	defer done()
	token, err := t.Secret(ctx, target.ProvisionerTokenSecret)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", target.ErrNoPrivilege, err)
	}
	defer clear(token)
	client.SetToken(strings.TrimSpace(string(token)))
	secret, err := client.Logical().ReadWithContext(ctx, path)
	var refusal *api.ResponseError
	if errors.As(err, &refusal) && refusal.StatusCode == http.StatusForbidden {
		return nil, fmt.Errorf("%w: the provisioner token is refused", target.ErrNoPrivilege)
	}
	return secret, err
}
