package kube

import (
	"errors"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	k8stesting "k8s.io/client-go/testing"
)

func TestTryEviction(t *testing.T) {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "vault", Name: "vault-0", UID: "a"}}
	for name, c := range map[string]struct {
		answer       error
		refusal, err string
	}{
		"admitted": {},
		"refused":  {answer: apierrors.NewTooManyRequests("the disruption budget vault needs 2 healthy pods", 1), refusal: "needs 2 healthy pods"},
		"broken":   {answer: errors.New("no route to host"), err: "eviction of pod vault-0: no route to host"},
	} {
		client := fake.NewClientset(pod)
		client.PrependReactor("create", "pods", func(a k8stesting.Action) (bool, runtime.Object, error) {
			asked, ok := a.(k8stesting.CreateAction).GetObject().(*policyv1.Eviction)
			if !ok || len(asked.DeleteOptions.DryRun) == 0 || *asked.DeleteOptions.Preconditions.UID != "a" {
				t.Errorf("%s: asked for %v, want a dry run of this very pod", name, asked)
			}
			return true, nil, c.answer
		})
		refusal, err := TryEviction(t.Context(), client, pod)
		if (c.refusal == "") != (refusal == "") || !strings.Contains(refusal, c.refusal) {
			t.Errorf("%s: refusal %q, want %q", name, refusal, c.refusal)
		}
		if (c.err == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: %v, want %q", name, err, c.err)
		}
	}
}
