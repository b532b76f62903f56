package stack

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
)

const handoverDir = "/run/handover"

// hookOf is the command of a container's preStop hook; the container must mount
// the folder through which the hooks speak, for writing.
func hookOf(t *testing.T, pod corev1.PodSpec, container string) (corev1.Container, []string) {
	t.Helper()
	i := slices.IndexFunc(pod.Containers, func(c corev1.Container) bool { return c.Name == container })
	if i < 0 {
		t.Fatalf("there is no container %s", container)
	}
	c := pod.Containers[i]
	if c.Lifecycle == nil || c.Lifecycle.PreStop == nil || c.Lifecycle.PreStop.Exec == nil {
		t.Fatalf("container %s has no preStop command", container)
	}
	mounted := slices.ContainsFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool {
		return m.Name == "handover" && m.MountPath == handoverDir && !m.ReadOnly
	})
	if !mounted {
		t.Errorf("container %s does not mount volume handover at %s for writing: %+v", container, handoverDir, c.VolumeMounts)
	}
	return c, c.Lifecycle.PreStop.Exec.Command
}

func TestLeadershipIsHandedOverBeforeTheStop(t *testing.T) {
	pod := typed(t, rendered(t), "StatefulSet", "vault", &appsv1.StatefulSet{}).Spec.Template.Spec
	sidecar, command := hookOf(t, pod, "bootstrap")
	if !slices.Equal(command, []string{"/usr/local/bin/bootstrap", "handover"}) {
		t.Errorf("the sidecar's hook is %q", command)
	}
	// A hook does not see the arguments of its container.
	for _, name := range []string{"VAULT_ADDR", "VAULT_CA", "POD_NAME", "CUSTODY_ENDPOINT", "CUSTODY_PROJECT", "CUSTODY_AUDIENCE",
		"CUSTODY_PREFIX", "CUSTODY_CA", "CUSTODY_TOKEN_FILE", "HANDOVER_DONE"} {
		if !slices.ContainsFunc(sidecar.Env, func(e corev1.EnvVar) bool { return e.Name == name }) {
			t.Errorf("the sidecar's hook does not know %s", name)
		}
		flag := "-" + strings.ToLower(strings.ReplaceAll(name, "_", "-")) + "="
		if slices.ContainsFunc(sidecar.Args, func(a string) bool { return strings.HasPrefix(a, flag) }) {
			t.Errorf("%s is an argument of the sidecar, which its hook does not see", flag)
		}
	}
	if g := pod.TerminationGracePeriodSeconds; g == nil || *g < 40 {
		t.Errorf("the grace period is %v, want at least 40 s: 20 for the hooks, 20 for keys in hand", g)
	}
	i := slices.IndexFunc(pod.Volumes, func(v corev1.Volume) bool { return v.Name == "handover" })
	if i < 0 || pod.Volumes[i].EmptyDir == nil || pod.Volumes[i].EmptyDir.Medium != corev1.StorageMediumMemory || pod.Volumes[i].EmptyDir.SizeLimit == nil {
		t.Error("volume handover is not a small emptyDir in memory")
	}
}

// TestVaultWaitsForTheHandover runs the hook of Vault's container.
func TestVaultWaitsForTheHandover(t *testing.T) {
	shell, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("there is no sh here")
	}
	pod := typed(t, rendered(t), "StatefulSet", "vault", &appsv1.StatefulSet{}).Spec.Template.Spec
	_, command := hookOf(t, pod, "vault")
	if len(command) != 3 || command[0] != "/bin/sh" || command[1] != "-c" || !strings.Contains(command[2], handoverDir) {
		t.Fatalf("Vault's hook is %q", command)
	}
	for name, tt := range map[string]struct {
		files         []string      // there from the beginning
		later         string        // there after 400 ms
		atLeast, most time.Duration // how long it waits
		stopping      bool          // whether the sidecar still reads, afterwards, that Vault is stopped
	}{
		"handed over already":          {[]string{"begun", "done"}, "", 0, time.Second, true},
		"handed over meanwhile":        {[]string{"begun"}, "done", 300 * time.Millisecond, 2 * time.Second, true},
		"the sidecar is not stopped":   {nil, "", 1900 * time.Millisecond, 5 * time.Second, false},
		"the sidecar died on the way":  {[]string{"begun"}, "", 17 * time.Second, 25 * time.Second, true},
		"left over from another start": {[]string{"stopping"}, "", 1900 * time.Millisecond, 5 * time.Second, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			touch := func(file string) {
				if err := os.WriteFile(filepath.Join(dir, file), nil, 0o600); err != nil {
					t.Error(err)
				}
			}
			for _, file := range tt.files {
				touch(file)
			}
			if tt.later != "" {
				time.AfterFunc(400*time.Millisecond, func() { touch(tt.later) })
			}
			begin := time.Now()
			out, err := exec.CommandContext(t.Context(), shell, "-c", strings.ReplaceAll(command[2], handoverDir, dir)).CombinedOutput()
			if took := time.Since(begin); err != nil || len(out) > 0 || took < tt.atLeast || took > tt.most {
				t.Errorf("it ended after %s with %v and said %q, want between %s and %s", took, err, out, tt.atLeast, tt.most)
			}
			if _, err := os.Stat(filepath.Join(dir, "stopping")); (err == nil) != tt.stopping {
				t.Errorf("file stopping is there: %t, want %t", err == nil, tt.stopping)
			}
		})
	}
	out, err := exec.CommandContext(t.Context(), shell, "-c", strings.ReplaceAll(command[2], handoverDir, filepath.Join(t.TempDir(), "none"))).CombinedOutput()
	if err != nil {
		t.Errorf("without the folder the hook fails: %v, %s", err, out)
	}
}
