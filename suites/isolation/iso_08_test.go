package isolation

import (
	"os/exec"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

const kernelSays = `== limits
Limit                     Soft Limit           Hard Limit           Units
Max cpu time              unlimited            unlimited            seconds
Max core file size        0                    0                    bytes
Max open files            1048576              1048576              files
== status
Name:	vault
VmLck:	       0 kB
VmSwap:	       0 kB
== meminfo
MemTotal:        8000000 kB
SwapTotal:             0 kB
== swap.max
max
== core_pattern
core
`

func quiet(t *testing.T, replace ...string) memory {
	t.Helper()
	text := kernelSays
	for i := 0; i+1 < len(replace); i += 2 {
		if !strings.Contains(text, replace[i]) {
			t.Fatalf("there is no %q to replace", replace[i])
		}
		text = strings.Replace(text, replace[i], replace[i+1], 1)
	}
	m, err := parseMemory(text)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestKeepsToItself(t *testing.T) {
	yes, no := true, false
	disabled, locking := mlock{disabled: &yes}, mlock{disabled: &no}
	const coreLine, swapLine = "Max core file size        0                    0 ", "SwapTotal:             0 kB"
	for name, c := range map[string]struct {
		memory memory
		choice mlock
		want   []string
	}{
		"right":              {quiet(t), disabled, nil},
		"nobody asked":       {quiet(t), mlock{}, nil},
		"locked":             {quiet(t, "VmLck:	       0 kB", "VmLck:	  300000 kB"), locking, nil},
		"closed to swap":     {quiet(t, swapLine, "SwapTotal: 2000000 kB", "== swap.max\nmax", "== swap.max\n0"), disabled, nil},
		"core dumps":         {quiet(t, coreLine, "Max core file size  unlimited unlimited "), disabled, []string{"Vault in pod vault-0", "core dumps is unlimited (at most unlimited)", "want 0", "ulimit -c 0"}},
		"core dumps later":   {quiet(t, coreLine, "Max core file size  0 unlimited "), disabled, []string{"core dumps is 0 (at most unlimited)"}},
		"swap":               {quiet(t, swapLine, "SwapTotal: 2000000 kB"), disabled, []string{"2000000 kB of swap", "memory.swap.max is max"}},
		"swap, no cgroup v2": {quiet(t, swapLine, "SwapTotal: 2000000 kB", "== swap.max\nmax\n", "== swap.max\n"), disabled, []string{"memory.swap.max is unknown"}},
		"swapped out":        {quiet(t, "VmSwap:	       0 kB", "VmSwap:	    1200 kB"), disabled, []string{"1200 kB of Vault are swapped out"}},
		"not locked":         {quiet(t), locking, []string{"disable_mlock is false, but no memory is locked"}},
		"all at once":        {quiet(t, coreLine, "Max core file size  1 1 ", swapLine, "SwapTotal: 1 kB"), locking, []string{"core dumps", "swap", "locked"}},
	} {
		says(t, name, keepsToItself("vault-0", c.memory, c.choice), c.want...)
	}
}

func TestParseMemory(t *testing.T) {
	if m := quiet(t, "== core_pattern\ncore", "== core_pattern\n|/usr/lib/systemd/systemd-coredump %P"); m.corePattern != "|/usr/lib/systemd/systemd-coredump %P" || m.swapMax != "max" {
		t.Errorf("read %+v", m)
	}
	for _, missing := range []string{"Max core file size", "VmSwap", "VmLck", "SwapTotal"} {
		_, err := parseMemory(strings.Replace(kernelSays, missing, "Something else", 1))
		says(t, "no "+missing, err, missing)
	}
	_, err := parseMemory("")
	says(t, "nothing", err, "there is no line")
}

// The script runs in whatever shell Vault's image has, and finds the process by its name.
func TestMemoryScript(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "/bin/sh", "-c", strings.ReplaceAll(memoryScript, `"$name" = vault`, `"$dir" = /proc/$$`)).Output()
	if err != nil {
		t.Fatal(err)
	}
	m, err := parseMemory(string(out))
	if err != nil || m.coreSoft == "" {
		t.Errorf("read %+v (%v) of\n%s", m, err, out)
	}
	out, err = exec.CommandContext(t.Context(), "/bin/sh", "-c", strings.ReplaceAll(memoryScript, `= vault`, `= "no such name"`)).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "no process is named vault") {
		t.Errorf("without a Vault it says %q (%v)", out, err)
	}
}

func TestChosen(t *testing.T) {
	yes := true
	spec := corev1.PodSpec{Containers: []corev1.Container{{Name: "vault"}}}
	for name, c := range map[string]struct {
		file, text string
		want       []string
	}{
		"HCL":          {"vault-config/vault.hcl", "ui = false\ndisable_mlock = true\n", nil},
		"HCL, chosen":  {"vault-config/vault.hcl", "  disable_mlock=false", nil},
		"JSON":         {"vault-config/vault.json", `{"disable_mlock": true}`, nil},
		"a comment":    {"vault-config/vault.hcl", "# disable_mlock = true\n", []string{"disable_mlock is in none", "true is in force by default"}},
		"another word": {"vault-config/vault.hcl", "disable_mlocking = true", []string{"disable_mlock is in none"}},
		"absent":       {"vault-config/vault.hcl", "ui = false", []string{"disable_mlock is in none"}},
	} {
		m := writtenChoice(map[string]string{c.file: c.text, "vault-config/README": "disable_mlock = true"}, spec, "vault")
		m.disabled = &yes
		if !m.known {
			t.Errorf("%s: the configuration was not seen", name)
		}
		says(t, name, chosen(m), c.want...)
	}
	if m := writtenChoice(map[string]string{"tls/ca.crt": "PEM"}, spec, "vault"); m.known {
		t.Error("a certificate passes for Vault's configuration")
	}
	spec.Containers[0].Env = []corev1.EnvVar{{Name: mlockVariable, Value: "true"}}
	says(t, "by variable", chosen(writtenChoice(nil, spec, "vault")))
	says(t, "not asked", chosen(mlock{known: true}), "could not be asked")
}
