package nightly

import (
	"io/fs"
	"path"
	"slices"
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"github.com/vaultproof/vaultproof/deploy/deploytest"
)

// objects are what a folder renders to, by "Kind/namespace/name".
type objects map[string]runtime.Object

// rendered is a folder of FS.
func rendered(t *testing.T, folder string) objects {
	t.Helper()
	all := objects{}
	for _, o := range deploytest.Render(t, FS, folder) {
		all[o.Kind+"/"+o.Namespace+"/"+o.Name] = o.Object
	}
	return all
}

func job(t *testing.T, all objects) corev1.PodSpec {
	t.Helper()
	found, is := all["CronJob/vaultproof-system/vaultproof-nightly"].(*batchv1.CronJob)
	if !is {
		t.Fatal("there is no CronJob vaultproof-nightly")
	}
	if found.Spec.ConcurrencyPolicy != batchv1.ForbidConcurrent {
		t.Errorf("two runs may overlap: %s", found.Spec.ConcurrencyPolicy)
	}
	if limit := found.Spec.JobTemplate.Spec.BackoffLimit; limit == nil || *limit != 0 {
		t.Error("a run that does not certify is tried again")
	}
	return found.Spec.JobTemplate.Spec.Template.Spec
}

func TestTheRunnerIsRestricted(t *testing.T) {
	all := rendered(t, "base")
	pod := job(t, all)
	if pod.HostNetwork || pod.HostPID || pod.SecurityContext.RunAsNonRoot == nil || !*pod.SecurityContext.RunAsNonRoot || pod.SecurityContext.SeccompProfile == nil {
		t.Errorf("the pod's security context is %+v", pod.SecurityContext)
	}
	for _, c := range pod.Containers {
		s := c.SecurityContext
		if s == nil || !*s.ReadOnlyRootFilesystem || *s.AllowPrivilegeEscalation || !slices.Contains(s.Capabilities.Drop, "ALL") {
			t.Errorf("container %s has the security context %+v", c.Name, s)
		}
	}
	if pod.TerminationGracePeriodSeconds == nil || *pod.TerminationGracePeriodSeconds < 210 {
		t.Error("a run that is ended has no time to undo its fault and to write its report")
	}
	if _, is := all["PersistentVolumeClaim/vaultproof-system/"+pod.Volumes[0].PersistentVolumeClaim.ClaimName]; !is {
		t.Errorf("the claim %s is not among the objects", pod.Volumes[0].PersistentVolumeClaim.ClaimName)
	}
}

// TestEveryRoleIsBoundToTheRunnerAlone: a role that nobody has, or somebody else, is a slip.
func TestEveryRoleIsBoundToTheRunnerAlone(t *testing.T) {
	all := rendered(t, "base")
	runner := rbacv1.Subject{Kind: "ServiceAccount", Name: "vaultproof-runner", Namespace: "vaultproof-system"}
	if got := job(t, all).ServiceAccountName; got != runner.Name {
		t.Errorf("the job runs as %s", got)
	}
	roles, bindings := 0, 0
	for name, object := range all {
		switch o := object.(type) {
		case *rbacv1.Role, *rbacv1.ClusterRole:
			roles++
			if _, bound := all[strings.Replace(name, "Role/", "RoleBinding/", 1)]; !bound {
				t.Errorf("%s is bound to nobody", name)
			}
		case *rbacv1.RoleBinding:
			bindings++
			if !slices.Equal(o.Subjects, []rbacv1.Subject{runner}) {
				t.Errorf("%s gives to %v", name, o.Subjects)
			}
		case *rbacv1.ClusterRoleBinding:
			bindings++
			if !slices.Equal(o.Subjects, []rbacv1.Subject{runner}) {
				t.Errorf("%s gives to %v", name, o.Subjects)
			}
		}
	}
	if roles == 0 || roles != bindings {
		t.Errorf("%d roles and %d bindings", roles, bindings)
	}
	for c := range grants(all) {
		if strings.Contains(string(c), "*") && !strings.HasSuffix(string(c), " *") {
			t.Errorf("%q is a wildcard", c)
		}
	}
}

func TestOverlayBaseline(t *testing.T) {
	pod := job(t, rendered(t, "overlays/baseline"))
	c := pod.Containers[0]
	if !slices.Contains(c.Args, "-baseline=/baseline/report.json") || !slices.Contains(c.Args, "-profile=resilience") {
		t.Errorf("the arguments are %v", c.Args)
	}
	mounted := slices.ContainsFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool { return m.Name == "baseline" && m.MountPath == "/baseline" })
	given := slices.ContainsFunc(pod.Volumes, func(v corev1.Volume) bool { return v.Name == "baseline" && v.ConfigMap != nil })
	if !mounted || !given {
		t.Errorf("the baseline is mounted: %v, given: %v", mounted, given)
	}
}

// TestPipelinesAreYAML: what a user copies has to be read, whatever the user's CI is.
func TestPipelinesAreYAML(t *testing.T) {
	entries, err := fs.ReadDir(FS, "pipelines")
	if err != nil || len(entries) != 3 {
		t.Fatalf("%d pipelines (%v), want 3", len(entries), err)
	}
	for _, e := range entries {
		text, err := fs.ReadFile(FS, path.Join("pipelines", e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		var pipeline map[string]any
		if err := yaml.UnmarshalStrict(text, &pipeline); err != nil {
			t.Errorf("%s: %v", e.Name(), err)
			continue
		}
		for _, wrong := range wrongs(pipeline, string(text)) {
			t.Errorf("%s: %s", e.Name(), wrong)
		}
	}
}

// wrongs are what makes a pipeline useless as an example.
func wrongs(pipeline map[string]any, text string) []string {
	var found []string
	jobs, github := pipeline["jobs"].(map[string]any)
	for name, one := range jobs {
		job, _ := one.(map[string]any)
		steps, _ := job["steps"].([]any)
		if job["runs-on"] == nil || len(steps) == 0 {
			found = append(found, "job "+name+" has no runner or no steps")
		}
		for _, s := range steps {
			if step, _ := s.(map[string]any); (step["uses"] == nil) == (step["run"] == nil) {
				found = append(found, "job "+name+" has a step that neither runs nor uses something")
			}
		}
	}
	if !github {
		for name, one := range pipeline {
			job, is := one.(map[string]any)
			if is && job["stage"] != nil && job["script"] == nil {
				found = append(found, "job "+name+" has no script")
			}
		}
	}
	if !strings.Contains(text, "-baseline") {
		found = append(found, "it compares with no baseline")
	}
	if always := strings.Contains(text, "if: always()") || strings.Contains(text, "when: always"); !always {
		found = append(found, "a run that failed leaves no report")
	}
	return found
}

func TestWrongPipelinesAreSeen(t *testing.T) {
	for name, text := range map[string]string{
		"no steps":  "jobs: {certify: {runs-on: x}}\n# -baseline if: always()",
		"no runner": "jobs: {certify: {steps: [{run: x}]}}\n# -baseline if: always()",
		"odd step":  "jobs: {certify: {runs-on: x, steps: [{name: x}]}}\n# -baseline if: always()",
		"no script": "gate: {stage: prove}\n# -baseline when: always",
		"no gate":   "gate: {stage: prove, script: [x]}\n# when: always",
		"no report": "gate: {stage: prove, script: [x -baseline y]}",
	} {
		var pipeline map[string]any
		if err := yaml.UnmarshalStrict([]byte(text), &pipeline); err != nil {
			t.Fatal(err)
		}
		if found := wrongs(pipeline, text); len(found) != 1 {
			t.Errorf("%s: %q, want one complaint", name, found)
		}
	}
}
