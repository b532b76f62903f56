package stack

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/vaultproof/vaultproof/pkg/custody"
)

// store is custody in memory; only what readiness uses is there.
type store struct {
	custody.Store
	versions map[string][]custody.Version
	err      error
}

func (s store) Versions(_ context.Context, id string) ([]custody.Version, error) {
	if s.err != nil {
		return nil, s.err
	}
	v, ok := s.versions[id]
	if !ok {
		return nil, custody.ErrNotFound
	}
	return v, nil
}

func (s store) Read(_ context.Context, id string) (custody.Secret, error) {
	if _, ok := s.versions[id]; !ok {
		return custody.Secret{}, custody.ErrNotFound
	}
	return custody.Secret{Payload: []byte("token of " + id)}, nil
}

const provisionerID = "vault-provisioner-token"

func fullStore() store {
	return store{versions: map[string][]custody.Version{provisionerID: {{Name: "1", State: custody.Enabled}}}}
}

func goodSet() *appsv1.StatefulSet {
	return &appsv1.StatefulSet{
		ObjectMeta: metav1.ObjectMeta{Name: "vault", Namespace: "vault", Generation: 1},
		Status:     appsv1.StatefulSetStatus{ObservedGeneration: 1, UpdateRevision: "vault-1"},
	}
}

// goodPods are three unsealed pods, of which vault-1 is active.
func goodPods() []*corev1.Pod {
	var pods []*corev1.Pod
	for i := range Pods {
		pods = append(pods, &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("vault-%d", i), Namespace: "vault", Labels: map[string]string{
				"app.kubernetes.io/name": "vault", "app.kubernetes.io/instance": "vault", "component": "server",
				appsv1.ControllerRevisionHashLabelKey: "vault-1",
				labelActive:                           fmt.Sprint(i == 1), labelSealed: "false", labelInitialized: "true",
			}},
			Spec: corev1.PodSpec{NodeName: fmt.Sprintf("node-%d", i)},
			Status: corev1.PodStatus{
				Phase:      corev1.PodRunning,
				Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}},
				ContainerStatuses: []corev1.ContainerStatus{
					{Name: "vault", Ready: true, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}},
					{Name: "bootstrap", Ready: true, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}},
				},
			},
		})
	}
	return pods
}

func waiterFor(set *appsv1.StatefulSet, pods []*corev1.Pod, s custody.Store, voters int) *waiter {
	objects := []runtime.Object{set}
	for _, pod := range pods {
		objects = append(objects, pod)
	}
	opts := testOptions()
	opts.Store, opts.Timeout = s, 50*time.Millisecond
	return &waiter{client: fake.NewClientset(objects...), opts: opts, voters: func(context.Context, string) (int, error) {
		if voters < 0 {
			return 0, errors.New("no answer")
		}
		return voters, nil
	}}
}

func TestReady(t *testing.T) {
	if err := waiterFor(goodSet(), goodPods(), fullStore(), 3).wait(t.Context()); err != nil {
		t.Error(err)
	}
	if err := waiterFor(goodSet(), goodPods(), nil, 0).wait(t.Context()); err != nil {
		t.Errorf("without a store only Kubernetes is asked: %v", err)
	}
}

func TestNotReady(t *testing.T) {
	type state struct {
		set    *appsv1.StatefulSet
		pods   []*corev1.Pod
		store  store
		voters int
	}
	for want, spoil := range map[string]func(*state){
		"vault-2 is missing": func(s *state) { s.pods = s.pods[:2] },
		"vault-0 is terminating": func(s *state) {
			now := metav1.Now()
			s.pods[0].DeletionTimestamp, s.pods[0].Finalizers = &now, []string{"x/y"}
		},
		"vault-0 is of an older revision": func(s *state) { s.pods[0].Labels[appsv1.ControllerRevisionHashLabelKey] = "vault-0" },
		"vault-0 is unscheduled":          func(s *state) { s.pods[0].Status = corev1.PodStatus{Phase: corev1.PodPending} },
		"without a running container vault": func(s *state) {
			s.pods[0].Status.ContainerStatuses[0].State = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}}
		},
		"vault-0 is without Vault's labels":    func(s *state) { delete(s.pods[0].Labels, labelInitialized) },
		"vault-0 is not initialised":           func(s *state) { s.pods[0].Labels[labelInitialized] = "false" },
		"vault-2 is sealed":                    func(s *state) { s.pods[2].Labels[labelSealed] = "true" },
		"vault-2 is unsealed but not ready":    func(s *state) { s.pods[2].Status.Conditions = nil },
		"no pod is active":                     func(s *state) { s.pods[1].Labels[labelActive] = "false" },
		"more than one pod is labelled active": func(s *state) { s.pods[2].Labels[labelActive] = "true" },
		"has not seen the change":              func(s *state) { s.set.Generation = 2 },
		"custody has no secret vault-prov":     func(s *state) { s.store.versions = nil },
		"no enabled version":                   func(s *state) { s.store.versions[provisionerID][0].State = custody.Destroyed },
		"custody does not say":                 func(s *state) { s.store.err = custody.ErrUnavailable },
		"raft has 1 voters, want 3":            func(s *state) { s.voters = 1 },
		"voters cannot be counted":             func(s *state) { s.voters = -1 },
	} {
		s := state{goodSet(), goodPods(), fullStore(), 3}
		spoil(&s)
		err := waiterFor(s.set, s.pods, s.store, s.voters).wait(t.Context())
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "not ready after 50ms") {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func TestInterruptedWait(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := waiterFor(goodSet(), nil, nil, 0).wait(ctx)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want that it was interrupted", err)
	}
}

func TestDiagnosis(t *testing.T) {
	pods := goodPods()
	pods[0].Status.ContainerStatuses[0] = corev1.ContainerStatus{
		Name: "vault", RestartCount: 3,
		State:                corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff", Message: "back-off"}},
		LastTerminationState: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 137, Reason: "OOMKilled"}},
	}
	pods[2].Status.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Message: "0/5 nodes are available"}}
	event := func(name, message string, at time.Time, kind string) *corev1.Event {
		return &corev1.Event{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "vault"}, InvolvedObject: corev1.ObjectReference{Name: "vault-0"},
			Type: kind, Reason: "BackOff", Message: message, LastTimestamp: metav1.NewTime(at)}
	}
	now := time.Now()
	client := fake.NewClientset(pods[0], pods[1], pods[2],
		event("a", "newer warning", now, corev1.EventTypeWarning),
		event("b", "older warning", now.Add(-time.Minute), corev1.EventTypeWarning),
		event("c", "all is well", now.Add(time.Minute), corev1.EventTypeNormal))
	text := diagnose(t.Context(), client, "vault")
	for _, want := range []string{
		"vault-0 on node node-0:", "container vault waits: CrashLoopBackOff back-off", "restarted 3 times, the last time after exit code 137 (OOMKilled)",
		"event BackOff: newer warning", "not scheduled: 0/5 nodes are available", "vault-active=true", "bootstrap says: fake logs",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the diagnosis lacks %q:%s", want, text)
		}
	}
	if strings.Contains(text, "older warning") || strings.Contains(text, "all is well") {
		t.Errorf("the diagnosis tells what does not matter:%s", text)
	}
}

func TestVotersAreCounted(t *testing.T) {
	server := func(voter bool) map[string]any { return map[string]any{"voter": voter} }
	data := map[string]any{"config": map[string]any{"servers": []any{server(true), server(false), server(true)}}}
	if n, err := countVoters(data); n != 2 || err != nil {
		t.Errorf("got %d, %v; want 2", n, err)
	}
	if _, err := countVoters(map[string]any{}); err == nil {
		t.Error("an answer without servers was counted")
	}
}

func TestTokensForCounting(t *testing.T) {
	allowed := "token of vault-root-token"
	vault := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Vault-Token") != allowed {
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprint(w, `{"errors":["permission denied"]}`)
			return
		}
		fmt.Fprint(w, `{"data":{"config":{"servers":[{"voter":true},{"voter":true},{"voter":true}]}}}`)
	}))
	defer vault.Close()
	client, err := api.NewClient(&api.Config{Address: vault.URL, HttpClient: vault.Client()})
	if err != nil {
		t.Fatal(err)
	}
	s := fullStore()
	if _, err := countWith(t.Context(), client, s, "vault"); err == nil || !strings.Contains(err.Error(), "may not read") || strings.Contains(err.Error(), "token of") {
		t.Errorf("got %v, want a refusal without any token in it", err)
	}
	s.versions["vault-root-token"] = []custody.Version{{Name: "1", State: custody.Enabled}}
	if n, err := countWith(t.Context(), client, s, "vault"); n != 3 || err != nil {
		t.Errorf("got %d, %v; want 3", n, err)
	}
	allowed = "token of " + provisionerID
	if n, err := countWith(t.Context(), client, s, "vault"); n != 3 || err != nil {
		t.Errorf("got %d, %v; want 3", n, err)
	}
}
