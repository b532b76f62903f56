package realvault

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/vault/api"
)

// tail is how much of a Vault's log is shown, in bytes.
const tail = 4000

// Vault is the one of a pod: its process, which comes and goes, and its data.
type Vault struct {
	Name   string // of the pod, and of its folder of data
	Port   int
	ground *Ground
	mu     sync.Mutex
	run    *exec.Cmd // nil while there is none
	ended  chan struct{}
}

// Vault makes one, without starting it.
func (g *Ground) Vault(name string) *Vault {
	g.T.Helper()
	return &Vault{Name: name, Port: Port(g.T), ground: g}
}

// Vaults makes n that are configured to join each other: vault-0 and so on.
func (g *Ground) Vaults(n int) (all []*Vault) {
	g.T.Helper()
	for i := range n {
		all = append(all, g.Vault(fmt.Sprintf("vault-%d", i)))
	}
	for _, v := range all {
		v.Configure("", all...)
	}
	return all
}

// Configure writes its configuration: to join the peers, and whatever more says.
func (v *Vault) Configure(more string, peers ...*Vault) {
	g := v.ground
	g.T.Helper()
	Must(g.T, os.MkdirAll(v.Data(), 0o700))
	var joins strings.Builder
	for _, peer := range peers {
		fmt.Fprintf(&joins, "  retry_join {\n    leader_api_addr = %q\n    leader_ca_cert_file = %q\n    leader_tls_servername = \"localhost\"\n  }\n", peer.URL(), g.Path("ca.crt"))
	}
	cluster := Port(g.T)
	g.File(v.Name+".hcl", fmt.Appendf(nil, `disable_mlock = true
api_addr = %q
cluster_addr = "https://127.0.0.1:%d"
listener "tcp" {
  address = "127.0.0.1:%d"
  cluster_address = "127.0.0.1:%d"
  tls_cert_file = %q
  tls_key_file = %q
}
storage "raft" {
  path = %q
  node_id = %q
  performance_multiplier = "1"
%s}
%s
`, v.URL(), cluster, v.Port, cluster, g.Path("tls.crt"), g.Path("tls.key"), v.Data(), v.Name, joins.String(), more))
}

// Data is the volume of its data.
func (v *Vault) Data() string { return v.ground.Path(v.Name) }

// Config is the file of its configuration.
func (v *Vault) Config() string { return v.ground.Path(v.Name + ".hcl") }

// Binary is the program.
func (v *Vault) Binary() string { return v.ground.binary }

// URL is its address.
func (v *Vault) URL() string { return fmt.Sprintf("https://127.0.0.1:%d", v.Port) }

// Run starts it, with a command that becomes Vault. It ends with the test's process.
func (v *Vault) Run(command *exec.Cmd) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	log, err := os.OpenFile(v.ground.Path(v.Name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("opening the log of %s: %w", v.Name, err)
	}
	defer log.Close()
	command.Stdout, command.Stderr = log, log
	if command.SysProcAttr == nil {
		command.SysProcAttr = &syscall.SysProcAttr{}
	}
	// A group of its own, which ends as a container does: all at once.
	command.SysProcAttr.Setpgid, command.SysProcAttr.Pdeathsig = true, syscall.SIGKILL
	if err := command.Start(); err != nil {
		return fmt.Errorf("starting %s: %w", v.Name, err)
	}
	ended := make(chan struct{})
	v.run, v.ended = command, ended
	go func() {
		defer close(ended)
		_ = command.Wait() // it is killed in most tests
		_ = syscall.Kill(-command.Process.Pid, syscall.SIGKILL)
	}()
	return nil
}

// Kill ends it at once, if it runs.
func (v *Vault) Kill() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.run != nil {
		_ = v.run.Process.Kill()
		<-v.ended
		v.run = nil
	}
}

// Terminate stops it as the kubelet does. The channel is closed when it has ended.
func (v *Vault) Terminate() <-chan struct{} {
	v.ground.T.Helper()
	v.mu.Lock()
	defer v.mu.Unlock()
	Must(v.ground.T, v.run.Process.Signal(syscall.SIGTERM))
	return v.ended
}

// ExitCode waits for its end, for as long as given, and tells its exit code; false if it
// still runs.
func (v *Vault) ExitCode(within time.Duration) (int, bool) {
	select {
	case <-v.ended:
		return v.run.ProcessState.ExitCode(), true
	case <-time.After(within):
		return 0, false
	}
}

// Tail is the end of its log.
func (v *Vault) Tail() string {
	raw, err := os.ReadFile(v.ground.Path(v.Name + ".log"))
	if err != nil {
		return err.Error()
	}
	return string(raw[max(0, len(raw)-tail):])
}

// Client speaks to it with a token.
func (v *Vault) Client(token string) *api.Client {
	v.ground.T.Helper()
	c, err := api.NewClient(&api.Config{Address: v.URL(), HttpClient: &http.Client{Timeout: 20 * time.Second,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: v.ground.Roots, ServerName: "localhost"}}}})
	Must(v.ground.T, err)
	c.SetToken(token)
	return c
}

// Active tells whether it says that it is the active one.
func (v *Vault) Active() bool {
	l, err := v.Client("").Sys().Leader()
	return err == nil && l.IsSelf
}

// Raft names the servers of its cluster, and those that vote.
func (v *Vault) Raft(token string) (servers, voters []string, err error) {
	s, err := v.Client(token).Logical().Read("sys/storage/raft/configuration")
	if err != nil {
		return nil, nil, err
	}
	for _, one := range s.Data["config"].(map[string]any)["servers"].([]any) {
		m := one.(map[string]any)
		name := fmt.Sprint(m["node_id"])
		servers = append(servers, name)
		if m["voter"] == true {
			voters = append(voters, name)
		}
	}
	return servers, voters, nil
}
