package tls

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/vaultproof/vaultproof/pkg/target"
)

func TestSkipsNoVerification(t *testing.T) {
	probe := func(command ...string) *corev1.Probe {
		return &corev1.Probe{ProbeHandler: corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: command}}}
	}
	for name, c := range map[string]struct {
		container corev1.Container
		want      string
	}{
		"verifies":             {corev1.Container{Name: "vault", Command: []string{"vault", "server"}, Env: []corev1.EnvVar{{Name: "VAULT_CACERT", Value: "/ca"}, {Name: "VAULT_SKIP_VERIFY", Value: "false"}}}, ""},
		"by its environment":   {corev1.Container{Name: "vault", Env: []corev1.EnvVar{{Name: "VAULT_SKIP_VERIFY", Value: "1"}}}, "VAULT_SKIP_VERIFY=1"},
		"by its probe":         {corev1.Container{Name: "vault", ReadinessProbe: probe("/bin/sh", "-ec", "vault status -tls-skip-verify")}, "readiness probe of container vault says tls-skip-verify"},
		"by its liveness":      {corev1.Container{Name: "vault", LivenessProbe: probe("curl", "--insecure", "https://127.0.0.1:8200")}, "liveness probe"},
		"by its hook":          {corev1.Container{Name: "vault", Lifecycle: &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{Exec: &corev1.ExecAction{Command: []string{"vault", "operator", "step-down", "-tls-skip-verify"}}}}}, "preStop hook"},
		"by its own arguments": {corev1.Container{Name: "unseal", Args: []string{"-tls-skip-verify"}}, "command of container unseal"},
	} {
		says(t, name, skipsNoVerification(corev1.PodSpec{Containers: []corev1.Container{c.container}}), c.want)
	}
}

func TestNeverReady(t *testing.T) {
	const blame = `{"msg":"Vault does not answer","error":"TLS with Vault as \"localhost\": tls: failed to verify certificate: x509: certificate signed by unknown authority"}`
	for name, c := range map[string]struct {
		seen deception
		want string
	}{
		"the sidecar keeps it unready":  {deception{answered: 9, sidecar: blame}, ""},
		"the probe itself verifies":     {deception{refused: 9, noSidecar: true}, ""},
		"a pod that became ready":       {deception{answered: 2, ready: time.Now()}, "became Ready"},
		"nobody tried":                  {deception{}, "nobody tried"},
		"unready for some other reason": {deception{answered: 9, sidecar: "custody is away"}, "shows nothing"},
	} {
		says(t, name, neverReady(c.seen), c.want)
	}
}

func TestLastCounts(t *testing.T) {
	answered, refused := lastCounts("{\"level\":\"INFO\"}\n{\"answered\":0,\"refused\":0}\n{\"answered\":3,\"refused\":1}\nx\n")
	if answered != 3 || refused != 1 {
		t.Errorf("counted %d and %d", answered, refused)
	}
}

func TestImpostorManifest(t *testing.T) {
	yes := true
	template := corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app.kubernetes.io/name": "vault", instanceLabel: "vault", "component": "server"}},
		Spec: corev1.PodSpec{
			PriorityClassName: "high", Affinity: &corev1.Affinity{},
			Containers: []corev1.Container{
				{Name: "vault", Image: "vault", Command: []string{"vault"}, ReadinessProbe: &corev1.Probe{PeriodSeconds: 2}, LivenessProbe: &corev1.Probe{},
					SecurityContext: &corev1.SecurityContext{ReadOnlyRootFilesystem: &yes}, VolumeMounts: []corev1.VolumeMount{{Name: "data"}}},
				{Name: "bootstrap", Image: "bootstrap", Args: []string{"-peers=https://vault-0:8200", "-listen=:8210"}, ReadinessProbe: &corev1.Probe{PeriodSeconds: 1},
					Env: []corev1.EnvVar{{Name: "CUSTODY_ENDPOINT", ValueFrom: &corev1.EnvVarSource{}}}, VolumeMounts: []corev1.VolumeMount{{Name: "data"}}},
			},
		},
	}
	i := &impostor{target: &target.Target{Namespace: "vault", Container: "vault", SidecarContainer: "bootstrap"}}
	pod := i.manifest(template, "impostor", "run")
	vault, sidecar := pod.Spec.Containers[0], pod.Spec.Containers[1]
	if vault.Args[0] != "impostor" || vault.Command != nil || vault.ReadinessProbe == nil || vault.LivenessProbe != nil || len(vault.VolumeMounts) > 0 || vault.SecurityContext == nil {
		t.Errorf("in Vault's place there is %+v", vault)
	}
	env := map[string]string{}
	for _, e := range sidecar.Env {
		env[e.Name] = e.Value
	}
	if env["CUSTODY_ENDPOINT"] != nowhere || env["FENCE"] != "false" || strings.Join(sidecar.Args, " ") != "-listen=:8210" || sidecar.ReadinessProbe == nil {
		t.Errorf("the sidecar is %+v", sidecar)
	}
	if pod.Spec.ActiveDeadlineSeconds == nil || pod.Labels[target.ManagedBy] != target.ManagedByValue {
		t.Error("an impostor outlives its run, or is not known for one of a run")
	}
	if pod.Spec.PriorityClassName != "" || pod.Labels[target.RunLabel] != "run" || len(pod.Spec.Volumes) != 1 || pod.Spec.Volumes[0].EmptyDir == nil {
		t.Errorf("the pod is %+v", pod)
	}
	own := labels.SelectorFromSet(template.Labels)
	service := func(selector map[string]string) []corev1.Service {
		return []corev1.Service{{Spec: corev1.ServiceSpec{Selector: selector}}}
	}
	says(t, "the stack's own Services", metByNobody(pod.Labels, service(template.Labels), own), "")
	says(t, "a Service that asks for less", metByNobody(pod.Labels, service(map[string]string{"component": "server", target.ActiveLabel: "true"}), own), "endpoint of Service")
	says(t, "a StatefulSet that asks for less", metByNobody(pod.Labels, nil, labels.SelectorFromSet(map[string]string{"component": "server"})), "StatefulSet")
}
