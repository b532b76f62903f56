package isolation

import (
	"os/exec"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

func twoContainers() corev1.Pod {
	no := false
	p := pod("vault", "vault-0", "a", "")
	p.Spec.ShareProcessNamespace = &no
	confined := &corev1.SecurityContext{AllowPrivilegeEscalation: &no, Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}}}
	p.Spec.Containers = []corev1.Container{
		{Name: "vault", SecurityContext: confined.DeepCopy()},
		{Name: "bootstrap", SecurityContext: confined.DeepCopy(), Command: []string{"/usr/local/bin/vault-bootstrapper"}},
	}
	return p
}

func TestApart(t *testing.T) {
	yes := true
	says(t, "right", apart(twoContainers(), "bootstrap"))
	for name, c := range map[string]struct {
		edit func(*corev1.Pod)
		want string
	}{
		"shared":     {func(p *corev1.Pod) { p.Spec.ShareProcessNamespace = &yes }, "pod vault-0 (since 0001-01-01T00:00:00Z): shareProcessNamespace is true, want false"},
		"the host's": {func(p *corev1.Pod) { p.Spec.HostPID = true }, "hostPID is true"},
		"a debugger": {func(p *corev1.Pod) {
			p.Spec.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "shell"}, TargetContainerName: "vault"}}
		}, "ephemeral container shell is in the process namespace of container vault"},
		"ptrace": {func(p *corev1.Pod) {
			p.Spec.Containers[1].SecurityContext.Capabilities.Add = []corev1.Capability{"SYS_PTRACE"}
		}, "container bootstrap could trace others: it has the capability SYS_PTRACE"},
		"ptrace, spelt": {func(p *corev1.Pod) {
			p.Spec.Containers[1].SecurityContext.Capabilities.Add = []corev1.Capability{"CAP_SYS_ADMIN"}
		}, "CAP_SYS_ADMIN"},
		"privileged": {func(p *corev1.Pod) { p.Spec.Containers[1].SecurityContext.Privileged = &yes }, "privileged"},
		"escalation": {func(p *corev1.Pod) { p.Spec.Containers[1].SecurityContext.AllowPrivilegeEscalation = nil }, "allowPrivilegeEscalation"},
		"kept":       {func(p *corev1.Pod) { p.Spec.Containers[1].SecurityContext.Capabilities = nil }, "not all dropped"},
		"no context": {func(p *corev1.Pod) { p.Spec.Containers[1].SecurityContext = nil }, "no securityContext"},
		"no sidecar": {func(p *corev1.Pod) { p.Spec.Containers = p.Spec.Containers[:1] }, "no container bootstrap"},
		"sidecar, early": {func(p *corev1.Pod) {
			p.Spec.InitContainers, p.Spec.Containers = []corev1.Container{{Name: "bootstrap"}}, p.Spec.Containers[:1]
		}, "no securityContext"},
	} {
		p := twoContainers()
		c.edit(&p)
		says(t, name, apart(p, "bootstrap"), c.want)
	}
}

func TestAlone(t *testing.T) {
	own := []process{{"1", "vault"}, {"40", "sh"}}
	says(t, "its own", alone(twoContainers(), "bootstrap", own))
	says(t, "behind an init", alone(twoContainers(), "bootstrap", []process{{"1", "dumb-init"}, {"8", "vault"}}))
	for name, p := range map[string]process{
		"of the pod":   {"1", "pause"},
		"of the host":  {"1", "systemd"},
		"the sidecar":  {"7", "bootstrap"},
		"its program":  {"7", "vault-bootstrap"}, // the kernel keeps 15 bytes
		"of some node": {"812", "kubelet"},
	} {
		says(t, name, alone(twoContainers(), "bootstrap", append([]process{p}, own...)), "Vault's container in pod vault-0 sees process "+p.id+" ("+p.name+")")
	}
}

func TestParseProcesses(t *testing.T) {
	if all, err := parseProcesses("1 vault\n40 sh\n"); err != nil || len(all) != 2 || all[1] != (process{"40", "sh"}) {
		t.Errorf("read %v (%v)", all, err)
	}
	_, err := parseProcesses("1 pause\n")
	says(t, "no Vault", err, "none is named vault")
	_, err = parseProcesses("")
	says(t, "nothing", err, "none is named vault")
	_, err = parseProcesses("nonsense")
	says(t, "nonsense", err, `"nonsense" is no number and name`)
}

// The script runs in whatever shell Vault's image has, and lists at least that shell.
func TestProcessScript(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "/bin/sh", "-c", processScript).Output()
	if err != nil {
		t.Fatal(err)
	}
	_, err = parseProcesses(string(out) + "9999999 vault\n")
	if err != nil || !strings.Contains(string(out), " sh\n") {
		t.Errorf("listed (%v)\n%s", err, out)
	}
}
