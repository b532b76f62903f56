package target

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/rest"
	kubetesting "k8s.io/client-go/testing"
)

func set(namespace, component string) appsv1.StatefulSet {
	return appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "vault", Labels: map[string]string{"component": component}}}
}

func TestChooseStatefulSet(t *testing.T) {
	for name, c := range map[string]struct {
		sets []appsv1.StatefulSet
		want string // part of the error, empty for success
	}{
		"one":                   {[]appsv1.StatefulSet{set("vault", "server")}, ""},
		"one without component": {[]appsv1.StatefulSet{set("vault", "")}, ""},
		"none":                  {nil, "install Vault first"},
		"two":                   {[]appsv1.StatefulSet{set("b", "server"), set("a", "server")}, "2 Vaults in any namespace (a/vault, b/vault)"},
	} {
		_, err := chooseStatefulSet(c.sets, "")
		if (c.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", name, err, c.want)
		}
	}
}

func TestChooseContainersRefusesOthers(t *testing.T) {
	s := set("db", "server")
	s.Spec.Template.Spec.Containers = []corev1.Container{{Name: "postgres"}}
	if _, _, err := chooseContainers(&s, ""); err == nil {
		t.Error("a StatefulSet without a vault container was accepted")
	}
	s.Spec.Template.Spec.Containers = []corev1.Container{{Name: "bootstrap"}, {Name: "vault"}}
	if vault, sidecar, err := chooseContainers(&s, ""); err != nil || vault != "vault" || sidecar != "bootstrap" {
		t.Errorf("containers %q and %q, error %v", vault, sidecar, err)
	}
}

func TestClassifyServices(t *testing.T) {
	service := func(name, clusterIP string, selector map[string]string) corev1.Service {
		return corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.ServiceSpec{ClusterIP: clusterIP, Selector: selector}}
	}
	pod := map[string]string{NameLabel: NameValue, "component": "server"}
	vault := map[string]string{NameLabel: NameValue}
	follows := map[string]string{NameLabel: NameValue, ActiveLabel: "true"}
	active, headless, clients := classifyServices([]corev1.Service{
		service("vault-internal", corev1.ClusterIPNone, vault),
		service("vault", "10.96.0.7", vault),
		service("vault-active", "10.96.0.8", follows),
		service("vault-standby", "10.96.0.9", map[string]string{NameLabel: NameValue, ActiveLabel: "false"}),
		service("other", "10.96.0.10", map[string]string{NameLabel: "web"}),
		service("external", "", nil),
	}, pod, "vault-internal")
	if active != "vault-active" || headless != "vault-internal" || strings.Join(clients, ",") != "vault,vault-active" {
		t.Errorf("active %q, headless %q, clients %v", active, headless, clients)
	}
	if active, _, _ := classifyServices(nil, pod, ""); active != "" {
		t.Errorf("active Service %q out of nothing", active)
	}
}

func TestParseVersion(t *testing.T) {
	if info, err := parseVersion([]byte(`{"gitVersion":"v1.37.2"}`)); err != nil || info.GitVersion != "v1.37.2" {
		t.Errorf("version %q, error %v", info.GitVersion, err)
	}
	for _, body := range []string{`<html>login</html>`, `{}`} {
		if _, err := parseVersion([]byte(body)); err == nil {
			t.Errorf("%s passes for a Kubernetes API", body)
		}
	}
}

func state(name string, edit func(*PodState)) PodState {
	s := PodState{Initialized: true, Pod: corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Status:     corev1.PodStatus{Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}},
	}}
	if edit != nil {
		edit(&s)
	}
	return s
}

func TestWhole(t *testing.T) {
	target := &Target{Replicas: 3}
	active := func(s *PodState) { s.IsSelf = true }
	deleting := metav1.Now()
	for name, c := range map[string]struct {
		third func(*PodState)
		want  string
	}{
		"whole":       {nil, ""},
		"sealed":      {func(s *PodState) { s.Sealed = true }, "pod vault-2 is sealed"},
		"new":         {func(s *PodState) { s.Initialized = false }, "not initialised"},
		"silent":      {func(s *PodState) { s.Err = errors.New("connection refused") }, "does not answer: connection refused"},
		"not Ready":   {func(s *PodState) { s.Pod.Status.Conditions[0].Status = corev1.ConditionFalse }, "not Ready"},
		"terminating": {func(s *PodState) { s.Pod.DeletionTimestamp = &deleting }, "not Ready"},
		"two active":  {active, "is_self on 2 of 3"},
	} {
		err := target.Whole([]PodState{state("vault-0", active), state("vault-1", nil), state("vault-2", c.third)})
		if (c.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", name, err, c.want)
		}
	}
	if err := target.Whole([]PodState{state("vault-0", active)}); err == nil {
		t.Error("one pod of three passes for whole")
	}
	if err := target.Whole([]PodState{state("vault-0", nil), state("vault-1", nil), state("vault-2", nil)}); !errors.Is(err, ErrNoActive) {
		t.Errorf("without an active pod: %v", err)
	}
}

func TestNeedlesOfAShareAreItsBytes(t *testing.T) {
	raw := make([]byte, 33)
	raw[5] = 7
	needles := needlesOf(ShareSecret+"0", []byte(base64.StdEncoding.EncodeToString(raw)+"\n"))
	if len(needles) != 1 || string(needles[0].Value) != string(raw) {
		t.Errorf("needles %d, want the 33 bytes of the share", len(needles))
	}
	needles = needlesOf(RootTokenSecret, []byte("hvs.something\n"))
	if len(needles) != 1 || string(needles[0].Value) != "hvs.something" {
		t.Error("a token is not searched for as it is")
	}
}

func TestPermissionsReadWell(t *testing.T) {
	p := Permission{Verb: "create", Resource: "pods", Subresource: "portforward", Namespace: "vault"}
	if got := p.String(); got != "create pods/portforward in vault" {
		t.Errorf("permission reads %q", got)
	}
}

func TestFindOnADeadCluster(t *testing.T) {
	_, err := Find(t.Context(), &rest.Config{Host: "https://127.0.0.1:1"}, Options{})
	if err == nil || !strings.Contains(err.Error(), "https://127.0.0.1:1 does not answer") || !strings.Contains(err.Error(), "-kubeconfig") {
		t.Errorf("a dead cluster: %v, want one sentence with the address and what to check", err)
	}
}

func TestMissingPermissionsAreNamed(t *testing.T) {
	client := fake.NewClientset()
	client.PrependReactor("create", "selfsubjectaccessreviews", func(action kubetesting.Action) (bool, runtime.Object, error) {
		review := action.(kubetesting.CreateAction).GetObject().(*authorizationv1.SelfSubjectAccessReview)
		review.Status.Allowed = review.Spec.ResourceAttributes.Verb != "delete"
		return true, review, nil
	})
	target := &Target{Client: client, Namespace: "vault"}
	if err := target.MustAllow(t.Context(), target.ReadPermissions()); err != nil {
		t.Error(err)
	}
	err := target.MustAllow(t.Context(), target.ChangePermissions())
	if err == nil || !strings.Contains(err.Error(), "may not: delete pods in vault;") {
		t.Errorf("a missing permission: %v", err)
	}
}
