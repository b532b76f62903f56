package probe

import (
	"context"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	k8stesting "k8s.io/client-go/testing"

	"github.com/vaultproof/vaultproof/pkg/history"
	"github.com/vaultproof/vaultproof/pkg/probe/internal/agent"
	"github.com/vaultproof/vaultproof/pkg/probe/internal/fakevault"
)

// cluster runs the pods of an indexed Job at once, in the given state.
func cluster(status corev1.PodStatus) *fake.Clientset {
	client := fake.NewClientset()
	client.PrependReactor("create", "jobs", func(action k8stesting.Action) (bool, runtime.Object, error) {
		job := action.(k8stesting.CreateAction).GetObject().(*batchv1.Job)
		job.Name = "probers-x"
		for i := range int(*job.Spec.Completions) {
			pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
				Name: fmt.Sprintf("probers-x-%d", i), Namespace: job.Namespace, Labels: map[string]string{batchv1.JobNameLabel: job.Name},
				Annotations: map[string]string{batchv1.JobCompletionIndexAnnotation: fmt.Sprint(i)},
			}, Status: status}
			if err := client.Tracker().Add(pod); err != nil {
				return true, nil, err
			}
		}
		return false, nil, nil
	})
	return client
}

var runs = corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}}}

func TestAFleetSharesTheLoad(t *testing.T) {
	const size = 3
	vault := fakevault.New("vault-0")
	defer vault.Close()
	opts := every(Options{
		RunID: "run-1", Address: vault.URL, CA: vault.CA(), ServerName: fakevault.ServerName, Token: fakevault.Token,
		Logger: slog.New(slog.DiscardHandler),
	}).withDefaults()
	opts.Log, opts.Rate = nil, 300
	client := cluster(runs)
	f := &Fleet{client: client, opts: opts}
	pods, err := f.run(t.Context(), size)
	if err != nil || !slices.Equal(pods, []string{"probers-x-0", "probers-x-1", "probers-x-2"}) {
		t.Fatalf("pods %v (%v)", pods, err)
	}
	for index, pod := range pods {
		server := httptest.NewServer(agent.New(t.Context(), slog.New(slog.DiscardHandler)).Handler())
		defer server.Close()
		p := &Prober{opts: f.member(index, size), client: client, pod: pod, link: newLink(reach(server.Listener.Addr().String()), func() {}), keepPod: true}
		if err := f.join(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	started := time.Now()
	eventually(t, "operations of every member", func() bool {
		return time.Since(started) > 2*time.Second && len(f.Operations()) > 300
	})
	final, err := f.Final(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := f.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Err(); err != nil {
		t.Error(err)
	}
	if jobs, err := client.BatchV1().Jobs("").List(t.Context(), metav1.ListOptions{}); err != nil || len(jobs.Items) > 0 {
		t.Errorf("%d Jobs are left (%v)", len(jobs.Items), err)
	}
	owners := map[string]int{}
	clients := map[int]string{}
	var all []history.Op
	for _, o := range f.Operations() {
		if err := o.Validate(); err != nil {
			t.Fatalf("%+v: %v", o, err)
		}
		owner := strings.FieldsFunc(o.Key, func(c rune) bool { return c == '/' || c == '-' })[0]
		owners[owner]++
		if other, used := clients[o.Client]; used && other != owner && o.Client >= 0 {
			t.Fatalf("client %d is of %s and of %s", o.Client, other, owner)
		}
		clients[o.Client] = owner
		all = append(all, o.Op)
	}
	if len(owners) != size || owners["p0"] < 100 || owners["p2"] < 100 {
		t.Errorf("operations by member: %v", owners)
	}
	if len(final.Journals) != size {
		t.Errorf("%d journals, want one of each member", len(final.Journals))
	}
	if losses := history.Lost(all, final); len(losses) > 0 {
		t.Errorf("lost %v", losses)
	}
	result, err := history.Linearizable(t.Context(), all)
	if err != nil || !result.OK {
		t.Errorf("the history is %s: %s (%v)", result.Verdict, result.Info, err)
	}
}

func TestAFleetThatCannotRunLeavesNothing(t *testing.T) {
	client := cluster(corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{
		Image: "vaultproof/prober:none", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ErrImageNeverPull"}},
	}}})
	f := &Fleet{client: client, opts: Options{RunID: "run-1"}.withDefaults()}
	if _, err := f.run(t.Context(), 2); err == nil || !strings.Contains(err.Error(), "vaultproof/prober:none") {
		t.Errorf("without its image: %v", err)
	}
	if jobs, err := client.BatchV1().Jobs("").List(t.Context(), metav1.ListOptions{}); err != nil || len(jobs.Items) > 0 {
		t.Errorf("%d Jobs are left (%v)", len(jobs.Items), err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	f = &Fleet{client: fake.NewClientset(), opts: Options{RunID: "run-1"}.withDefaults()} // nobody makes pods
	if _, err := f.run(ctx, 2); err == nil || !strings.Contains(err.Error(), "2 of 2 have no pod") {
		t.Errorf("without pods: %v", err)
	}
}

// One that ends has lost what it saw; the others must go on without it.
func TestTheJobOfAFleet(t *testing.T) {
	job := jobManifest(Options{RunID: "run-1", Namespace: "ns", Image: "prober"}, 5)
	pod := job.Spec.Template.Spec
	if *job.Spec.Completions != 5 || *job.Spec.Parallelism != 5 || *job.Spec.CompletionMode != batchv1.IndexedCompletion {
		t.Errorf("the Job is %+v", job.Spec)
	}
	if *job.Spec.BackoffLimitPerIndex != 0 || pod.RestartPolicy != corev1.RestartPolicyNever || *job.Spec.TTLSecondsAfterFinished == 0 {
		t.Errorf("a prober that ends is run again, or ends the others: %+v", job.Spec)
	}
	if job.Labels[labelRun] != "run-1" || job.Spec.Template.Labels[labelClient] != "vault" || *pod.AutomountServiceAccountToken {
		t.Errorf("labels %v and %v", job.Labels, job.Spec.Template.Labels)
	}
	if spread := pod.TopologySpreadConstraints; len(spread) != 1 || spread[0].TopologyKey != corev1.LabelHostname {
		t.Errorf("the probers are spread by %+v", spread)
	}
}
