package google

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/hashicorp/vault/api"
	"k8s.io/apimachinery/pkg/util/wait"
)

// Question is what the command lab calls this trial.
const Question = "admins"

const (
	// mount is where the auth method is.
	mount = "gcp"
	// startTimeout is how long a Vault may take to answer, on a busy machine.
	startTimeout = time.Minute
	// loginTimeout bounds one login.
	loginTimeout = 20 * time.Second
	// maxRefusal is how much of a refusal is kept, in bytes.
	maxRefusal = 300
)

// Login is what came of one login.
type Login struct {
	What   string `json:"what"`
	Admit  bool   `json:"admit"`  // whether it must succeed
	Status int    `json:"status"` // HTTP; 0 if Vault did not answer
	Reason string `json:"reason,omitempty"`
	// Policies of the token that it got.
	Policies []string `json:"policies,omitempty"`
}

// Trial is whom a Vault let in.
type Trial struct {
	Version string  `json:"version"` // of Vault
	Logins  []Login `json:"logins"`
}

// Admins starts a Vault of the given binary, in memory and on loopback, with the stand-in for
// Google and the role that the Terraform module writes, and tries to log in. dir is for what
// is written meanwhile.
func Admins(ctx context.Context, binary, dir string) (trial Trial, err error) {
	var p people
	for id, each := range []struct {
		name string
		to   **account
	}{{"vault-admin", &p.admin}, {"former-admin", &p.left}, {"somebody", &p.stranger}} {
		if *each.to, err = newAccount(each.name, int64(100+id)); err != nil {
			return trial, err
		}
	}
	google, err := serve(p.admin, p.left, p.stranger)
	if err != nil {
		return trial, err
	}
	defer func() { err = errors.Join(err, google.close(context.WithoutCancel(ctx))) }()
	vault, err := start(ctx, binary, dir, google, p.stranger)
	if err != nil {
		return trial, err
	}
	defer func() { err = errors.Join(err, vault.stop()) }()
	if trial.Version, err = vault.prepare(ctx, google, p); err != nil {
		return trial, err
	}
	p.left.gone = true // Vault has the role by now
	for _, t := range p.tries() {
		login, err := vault.login(ctx, t)
		if err != nil {
			return trial, err
		}
		trial.Logins = append(trial.Logins, login)
	}
	return trial, nil
}

// server is a Vault that forgets everything.
type server struct {
	cmd    *exec.Cmd
	client *api.Client
}

// start runs it. It trusts the stand-in, and asks it in the name of an account.
func start(ctx context.Context, binary, dir string, google *standIn, as *account) (*server, error) {
	credentials, err := google.credentials(as)
	if err != nil {
		return nil, err
	}
	root, asked := filepath.Join(dir, "google-ca.crt"), filepath.Join(dir, "google.json")
	for path, content := range map[string][]byte{root: google.root, asked: credentials} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			return nil, fmt.Errorf("writing what Vault has to know of the stand-in for Google: %w", err)
		}
	}
	address, err := freePort()
	if err != nil {
		return nil, err
	}
	const token = "of-a-vault-that-forgets"
	cmd := exec.Command(binary, "server", "-dev", "-dev-no-store-token", "-dev-listen-address="+address, "-log-level=error")
	cmd.Env = []string{"HOME=" + dir, "VAULT_DEV_ROOT_TOKEN_ID=" + token, "SSL_CERT_FILE=" + root, "GOOGLE_APPLICATION_CREDENTIALS=" + asked, "NO_PROXY=127.0.0.1"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", binary, err)
	}
	v := &server{cmd: cmd}
	v.client, err = api.NewClient(&api.Config{Address: "http://" + address, HttpClient: &http.Client{Transport: &http.Transport{}}, Timeout: loginTimeout})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("preparing a client of %s: %w", binary, err), v.stop())
	}
	v.client.ClearNamespace()
	v.client.SetToken(token)
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	err = wait.PollUntilContextCancel(ctx, 100*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		health, err := v.client.Sys().HealthWithContext(ctx)
		return err == nil && !health.Sealed, nil
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s does not answer at %s within %s: %w", binary, address, startTimeout, err), v.stop())
	}
	return v, nil
}

func freePort() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("looking for a free port: %w", err)
	}
	return listener.Addr().String(), listener.Close()
}

// stop ends it, and waits for that.
func (v *server) stop() error {
	if err := v.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("ending the Vault of the trial: %w", err)
	}
	_ = v.cmd.Wait() // it was killed
	return nil
}

// prepare mounts the auth method as the Terraform module does, and returns Vault's version.
func (v *server) prepare(ctx context.Context, google *standIn, p people) (version string, err error) {
	health, err := v.client.Sys().HealthWithContext(ctx)
	if err != nil {
		return "", fmt.Errorf("asking the Vault of the trial for its version: %w", err)
	}
	if err := v.client.Sys().EnableAuthWithOptionsWithContext(ctx, mount, &api.EnableAuthOptions{Type: "gcp"}); err != nil {
		return "", fmt.Errorf("mounting the auth method gcp: %w", err)
	}
	for path, data := range map[string]map[string]any{
		"config":           {"iam_alias": "unique_id", "custom_endpoint": map[string]string{"api": google.url, "iam": google.url + "/"}},
		"role/" + roleName: role(p.admin.email, p.left.email),
	} {
		if _, err := v.client.Logical().WriteWithContext(ctx, "auth/"+mount+"/"+path, data); err != nil {
			return "", fmt.Errorf("writing auth/%s/%s: %w", mount, path, err)
		}
	}
	return health.Version, nil
}

// login tries one login.
func (v *server) login(ctx context.Context, t try) (Login, error) {
	login := Login{What: t.what, Admit: t.admit}
	token, err := t.jwt()
	if err != nil {
		return login, err
	}
	secret, err := v.client.Logical().WriteWithContext(ctx, "auth/"+mount+"/login", map[string]any{"role": roleName, "jwt": token})
	var answer *api.ResponseError
	switch {
	case errors.As(err, &answer):
		login.Status, login.Reason = answer.StatusCode, brief(strings.Join(answer.Errors, "; "))
	case err != nil:
		login.Reason = brief(err.Error())
	case secret == nil || secret.Auth == nil:
		login.Status, login.Reason = http.StatusNoContent, "no token"
	default:
		login.Status, login.Policies = http.StatusOK, secret.Auth.Policies
	}
	return login, nil
}

// brief is the beginning of a refusal, on one line.
func brief(reason string) string {
	reason = strings.Join(strings.Fields(reason), " ")
	return reason[:min(len(reason), maxRefusal)]
}

// Judge judges whom Vault let in: admins, with their policy alone, and nobody else.
func (t Trial) Judge() error {
	var wrong []string
	admitted := 0
	for _, l := range t.Logins {
		let := l.Status == http.StatusOK
		switch {
		case l.Status == 0:
			return fmt.Errorf("Vault %s did not answer when %s logged in: %s", t.Version, l.What, l.Reason)
		case let && !l.Admit:
			wrong = append(wrong, fmt.Sprintf("%s got a token with the policies %v, want none", l.What, l.Policies))
		case !let && l.Admit:
			wrong = append(wrong, fmt.Sprintf("%s got status %d (%s), want a token", l.What, l.Status, l.Reason))
		case let && (len(l.Policies) != 1 || l.Policies[0] != "admin"):
			wrong = append(wrong, fmt.Sprintf("%s got a token with the policies %v, want admin alone", l.What, l.Policies))
		}
		if let && l.Admit {
			admitted++
		}
	}
	switch {
	case len(wrong) > 0:
		return fmt.Errorf("logins by GCP auth at Vault %s: %s", t.Version, strings.Join(wrong, "; "))
	case admitted == 0:
		return errors.New("no admin logged in, so that nobody else does shows nothing")
	}
	return nil
}

// Table prints it for people.
func (t Trial) Table(out io.Writer) error {
	table := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	for _, l := range t.Logins {
		if _, err := fmt.Fprintf(table, "%s\t%d\t%s\n", l.What, l.Status, l.Reason); err != nil {
			return fmt.Errorf("printing the logins: %w", err)
		}
	}
	if err := table.Flush(); err != nil {
		return fmt.Errorf("printing the logins: %w", err)
	}
	return nil
}
