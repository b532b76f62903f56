package isolation

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/onsi/ginkgo/v2"
	corev1 "k8s.io/api/core/v1"

	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/target"
)

// mlockVariable overrides disable_mlock of the configuration.
const mlockVariable = "VAULT_DISABLE_MLOCK"

// memoryScript prints what the kernel says of Vault's process, which is not always the
// first of its container, and of the container's memory.
const memoryScript = `
for dir in /proc/[0-9]*; do
  read -r name < "$dir/comm" || continue
  if [ "$name" = vault ]; then
    for file in limits status; do echo "== $file"; cat "$dir/$file"; done
    echo "== meminfo"; cat /proc/meminfo
    echo "== swap.max"; cat /sys/fs/cgroup/memory.swap.max || true
    echo "== core_pattern"; cat /proc/sys/kernel/core_pattern || true
    exit 0
  fi
done 2>/dev/null
echo "no process is named vault" >&2
exit 3`

var iso08 = conformance.Check{
	ID: "ISO-08", Area: area, Level: conformance.Must, Manner: conformance.Reads,
	Assertion: "Vault's memory does not reach a disk: core dumps are off, swap is off or closed to the container, and disable_mlock is chosen explicitly",
	Source:    "HashiCorp production hardening, core dumps and swap; Vault documentation, disable_mlock",
	Observe: "in Vault's container: /proc/PID/limits, VmSwap and VmLck of /proc/PID/status, SwapTotal of /proc/meminfo and memory.swap.max of its cgroup; " +
		"Vault's configuration files and sys/config/state/sanitized",
}

var _ = conformance.It(iso08, conformance.Conformance, func(ctx ginkgo.SpecContext, r *conformance.Case) error {
	choice, err := mlockChoice(ctx, r.Target)
	if err != nil {
		return r.CannotTell(err)
	}
	if choice.known {
		if err := chosen(choice); err != nil {
			return err
		}
	}
	if err := mayExec(ctx, r, "limits and swap of Vault's process are read in its container"); err != nil {
		return err
	}
	pods, err := r.Target.Pods(ctx)
	if err != nil {
		return r.CannotTell(err)
	}
	if len(pods) == 0 {
		return errors.New("there is no Vault pod")
	}
	var faults []error
	for _, p := range pods {
		text, err := run(ctx, r.Target, p.Name, memoryScript)
		if err != nil {
			return r.CannotTell(err)
		}
		seen, err := parseMemory(text)
		if err != nil {
			return r.CannotTell(fmt.Errorf("reading what the kernel says of Vault in pod %s: %w", p.Name, err))
		}
		if strings.HasPrefix(seen.corePattern, "|") {
			r.Note("node %s gives core dumps to a program (%s), which may ignore the limit: see that it does not", p.Spec.NodeName, seen.corePattern)
		}
		faults = append(faults, keepsToItself(p.Name, seen, choice))
	}
	if err := errors.Join(faults...); err != nil {
		return err
	}
	if !choice.known {
		return r.Skip("whether disable_mlock is chosen cannot be seen: Vault's configuration is in no ConfigMap that its container mounts")
	}
	return nil
})

// mlock is what the configuration says of locking memory.
type mlock struct {
	known    bool   // the configuration could be read
	explicit string // where it is chosen; empty if it is not
	disabled *bool  // what Vault says is in force; nil if it could not be asked
}

// mlockLine is a choice in a configuration, as HCL or JSON. A comment is none.
var mlockLine = regexp.MustCompile(`(?m)^[^#\n]*?\bdisable_mlock\b"?\s*[=:]`)

func mlockChoice(ctx context.Context, t *target.Target) (mlock, error) {
	template, err := t.Template(ctx)
	if err != nil {
		return mlock{}, err
	}
	files, err := t.ConfigFiles(ctx)
	if err != nil {
		return mlock{}, err
	}
	m := writtenChoice(files, template.Spec, t.Container)
	answer, err := t.ReadPrivileged(ctx, "sys/config/state/sanitized")
	if errors.Is(err, target.ErrNoPrivilege) || errors.Is(err, target.ErrNoActive) {
		return m, nil // what is written is enough
	}
	if err != nil {
		return m, err
	}
	if disabled, said := answer.Data["disable_mlock"].(bool); said {
		m.disabled = &disabled
	}
	return m, nil
}

// writtenChoice looks for the choice where it can be made.
func writtenChoice(files map[string]string, spec corev1.PodSpec, container string) mlock {
	m := mlock{}
	for name, text := range files {
		if !strings.HasSuffix(name, ".hcl") && !strings.HasSuffix(name, ".json") {
			continue
		}
		m.known = true
		if mlockLine.MatchString(text) {
			m.explicit = "ConfigMap " + name
		}
	}
	for _, c := range spec.Containers {
		if c.Name == container && slices.ContainsFunc(c.Env, func(e corev1.EnvVar) bool { return e.Name == mlockVariable }) {
			m.known, m.explicit = true, "variable "+mlockVariable
		}
	}
	return m
}

// chosen judges that somebody chose.
func chosen(m mlock) error {
	if m.explicit != "" {
		return nil
	}
	inForce := "what is in force could not be asked"
	if m.disabled != nil {
		inForce = fmt.Sprintf("%t is in force by default", *m.disabled)
	}
	return fmt.Errorf("disable_mlock is in none of Vault's configuration files, and %s: want it set, true with raft on nodes without swap", inForce)
}

// memory is what the kernel says of one Vault.
type memory struct {
	coreSoft, coreHard string // bytes or "unlimited"
	swapped, locked    string // VmSwap, VmLck
	swapTotal          string // of the node
	swapMax            string // of the container; empty where cgroups do not say
	corePattern        string
}

// parseMemory reads what memoryScript printed.
func parseMemory(text string) (memory, error) {
	var m memory
	section := ""
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if title, begins := strings.CutPrefix(line, "== "); begins {
			section = title
			continue
		}
		key, value, _ := strings.Cut(line, ":")
		value = strings.Join(strings.Fields(value), " ")
		switch {
		case section == "limits" && strings.HasPrefix(line, "Max core file size"):
			if f := strings.Fields(strings.TrimPrefix(line, "Max core file size")); len(f) >= 2 {
				m.coreSoft, m.coreHard = f[0], f[1]
			}
		case section == "status" && key == "VmSwap":
			m.swapped = value
		case section == "status" && key == "VmLck":
			m.locked = value
		case section == "meminfo" && key == "SwapTotal":
			m.swapTotal = value
		case section == "swap.max":
			m.swapMax = line
		case section == "core_pattern":
			m.corePattern = line
		}
	}
	for name, value := range map[string]string{
		"Max core file size": m.coreSoft, "VmSwap": m.swapped, "VmLck": m.locked, "SwapTotal": m.swapTotal,
	} {
		if value == "" {
			return m, fmt.Errorf("there is no line %q", name)
		}
	}
	return m, nil
}

// nothing is how the kernel writes no memory at all.
const nothing = "0 kB"

// keepsToItself judges one Vault.
func keepsToItself(pod string, m memory, choice mlock) error {
	var wrong []string
	if m.coreSoft != "0" || m.coreHard != "0" {
		wrong = append(wrong, fmt.Sprintf("the limit of core dumps is %s (at most %s) bytes, want 0: a crash would write keys to a disk; set \"ulimit -c 0\" before Vault starts", m.coreSoft, m.coreHard))
	}
	if m.swapTotal != nothing && m.swapMax != "0" {
		limit := m.swapMax
		if limit == "" {
			limit = "unknown"
		}
		wrong = append(wrong, fmt.Sprintf("its node has %s of swap and the container's memory.swap.max is %s, want no swap or 0", m.swapTotal, limit))
	}
	if m.swapped != nothing {
		wrong = append(wrong, fmt.Sprintf("%s of Vault are swapped out (VmSwap), want %s", m.swapped, nothing))
	}
	if choice.disabled != nil && !*choice.disabled && m.locked == nothing {
		wrong = append(wrong, "disable_mlock is false, but no memory is locked (VmLck: "+nothing+")")
	}
	if len(wrong) == 0 {
		return nil
	}
	return fmt.Errorf("Vault in pod %s: %s", pod, strings.Join(wrong, "; "))
}
