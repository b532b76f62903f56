package isolation

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/onsi/ginkgo/v2"
	corev1 "k8s.io/api/core/v1"

	"github.com/vaultproof/vaultproof/pkg/conformance"
)

// processScript lists the processes that Vault's container sees: number and name.
const processScript = `
for dir in /proc/[0-9]*; do
  read -r name < "$dir/comm" && echo "${dir#/proc/} $name"
done 2>/dev/null
exit 0`

// nameLength is how much of a process's name the kernel keeps, in bytes.
const nameLength = 15

var iso10 = conformance.Check{
	ID: "ISO-10", Area: area, Level: conformance.Should, Manner: conformance.Reads,
	Assertion: "the sidecar and Vault do not see each other's processes, and the sidecar cannot trace one",
	Source:    "Kubernetes documentation, shareProcessNamespace",
	Observe: "spec of the pods: process namespaces, capabilities of the sidecar, ephemeral containers; " +
		"and the processes that Vault's container sees, among which neither the sidecar nor the pod's pause process may be",
}

var _ = conformance.It(iso10, conformance.Conformance, func(ctx ginkgo.SpecContext, r *conformance.Case) error {
	if r.Target.SidecarContainer == "" {
		return r.Skip("the pods of StatefulSet %s have no sidecar that unseals", r.Target.StatefulSet)
	}
	pods, err := r.Target.Pods(ctx)
	if err != nil {
		return r.CannotTell(err)
	}
	if len(pods) == 0 {
		return errors.New("there is no Vault pod")
	}
	for _, p := range pods {
		if err := apart(p, r.Target.SidecarContainer); err != nil {
			return err
		}
	}
	if err := mayExec(ctx, r, "the processes that Vault sees are listed in its container"); err != nil {
		return err
	}
	for _, p := range pods {
		text, err := run(ctx, r.Target, p.Name, processScript)
		if err != nil {
			return r.CannotTell(err)
		}
		processes, err := parseProcesses(text)
		if err != nil {
			return r.CannotTell(fmt.Errorf("listing the processes in Vault's container of pod %s: %w", p.Name, err))
		}
		if err := alone(p, r.Target.SidecarContainer, processes); err != nil {
			return err
		}
	}
	return nil
})

// apart judges the spec of one pod.
func apart(p corev1.Pod, sidecar string) error {
	var wrong []string
	if p.Spec.ShareProcessNamespace != nil && *p.Spec.ShareProcessNamespace {
		wrong = append(wrong, "shareProcessNamespace is true, want false")
	}
	if p.Spec.HostPID {
		wrong = append(wrong, "hostPID is true, want false")
	}
	for _, e := range p.Spec.EphemeralContainers {
		if e.TargetContainerName != "" {
			wrong = append(wrong, fmt.Sprintf("ephemeral container %s is in the process namespace of container %s, want none there", e.Name, e.TargetContainerName))
		}
	}
	at := slices.IndexFunc(containersOf(p), func(c corev1.Container) bool { return c.Name == sidecar })
	if at < 0 {
		wrong = append(wrong, "it has no container "+sidecar)
	} else if why := mayTrace(containersOf(p)[at].SecurityContext); why != "" {
		wrong = append(wrong, fmt.Sprintf("container %s could trace others: %s", sidecar, why))
	}
	if len(wrong) == 0 {
		return nil
	}
	return fmt.Errorf("pod %s (since %s): %s", p.Name, p.CreationTimestamp.UTC().Format("2006-01-02T15:04:05Z"), strings.Join(wrong, "; "))
}

// containersOf includes the init containers, where a sidecar may be too.
func containersOf(p corev1.Pod) []corev1.Container {
	return slices.Concat(p.Spec.InitContainers, p.Spec.Containers)
}

// tracing are the capabilities that let one process read another's memory.
var tracing = []corev1.Capability{"ALL", "SYS_PTRACE", "SYS_ADMIN", "PERFMON", "BPF"}

// mayTrace says what lets a container trace others; empty if nothing does.
func mayTrace(s *corev1.SecurityContext) string {
	switch {
	case s == nil:
		return "it has no securityContext, want privilege escalation forbidden and all capabilities dropped"
	case s.Privileged != nil && *s.Privileged:
		return "it is privileged"
	case s.AllowPrivilegeEscalation == nil || *s.AllowPrivilegeEscalation:
		return "allowPrivilegeEscalation is not false"
	case s.Capabilities == nil || !slices.Contains(s.Capabilities.Drop, "ALL"):
		return "its capabilities are not all dropped"
	}
	for _, c := range s.Capabilities.Add {
		if slices.Contains(tracing, corev1.Capability(strings.TrimPrefix(string(c), "CAP_"))) {
			return "it has the capability " + string(c)
		}
	}
	return ""
}

// process is one that a container sees.
type process struct{ id, name string }

func parseProcesses(text string) ([]process, error) {
	var all []process
	vault := false
	for line := range strings.Lines(text) {
		id, name, parted := strings.Cut(strings.TrimSpace(line), " ")
		if !parted {
			return nil, fmt.Errorf("%q is no number and name", strings.TrimSpace(line))
		}
		vault = vault || name == "vault"
		all = append(all, process{id, name})
	}
	if !vault {
		return nil, fmt.Errorf("none is named vault among %v", all)
	}
	return all, nil
}

// alone judges what processes Vault's container sees. In a process namespace of the pod
// the first is its pause process; in the host's it is the host's init.
func alone(p corev1.Pod, sidecar string, processes []process) error {
	strangers := []string{"pause", "systemd", "kubelet", short(sidecar)}
	for _, c := range containersOf(p) {
		if c.Name == sidecar && len(c.Command) > 0 {
			strangers = append(strangers, short(path.Base(c.Command[0])))
		}
	}
	for _, seen := range processes {
		if slices.Contains(strangers, seen.name) {
			return fmt.Errorf("Vault's container in pod %s sees process %s (%s), want none but its own: the two would share a process namespace, and memory could be read", p.Name, seen.id, seen.name)
		}
	}
	return nil
}

func short(name string) string { return name[:min(len(name), nameLength)] }
