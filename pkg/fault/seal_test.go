package fault

import (
	"context"
	"errors"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
)

func heldEnv(t *testing.T, annotations map[string]string) (*Env, func() (string, bool), func() []Entry) {
	t.Helper()
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "vault-0", Namespace: "vault", Annotations: annotations}}
	journal, open := journalled(t)
	env := &Env{Client: fake.NewClientset(pod), Namespace: "vault", Container: "vault", RunID: "r1", Journal: journal}
	return env, func() (string, bool) {
		now, err := env.Client.CoreV1().Pods("vault").Get(t.Context(), "vault-0", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		held, ok := now.Annotations[HoldAnnotation]
		return held, ok
	}, open
}

func TestHeldSeal(t *testing.T) {
	env, hold, open := heldEnv(t, nil)
	heldFirst := false
	injected, err := (&HeldSeal{Env: env, Pod: "vault-0", Seal: func(context.Context) error {
		_, heldFirst = hold()
		return nil
	}}).Inject(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !heldFirst {
		t.Error("the hold was not there when Vault was sealed")
	}
	if left := open(); len(left) != 1 || left[0].Ref.Kind != KindHold {
		t.Errorf("the journal has %v, want the hold", left)
	}
	// The fake API server's log says nothing of a seal.
	ctx, cancel := context.WithTimeout(t.Context(), 2*pollEvery)
	defer cancel()
	if _, err := injected.Witness(ctx); !errors.Is(err, ErrNoWitness) {
		t.Errorf("a log without the seal: %v, want ErrNoWitness", err)
	}
	if err := injected.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	if held, ok := hold(); ok {
		t.Errorf("the hold %q is there still", held)
	}
	if left := open(); len(left) != 0 {
		t.Errorf("the journal still has %v", left)
	}
}

func TestHeldSealThatFailsLeavesNoHold(t *testing.T) {
	env, hold, _ := heldEnv(t, nil)
	_, err := (&HeldSeal{Env: env, Pod: "vault-0", Seal: func(context.Context) error { return errors.New("denied") }}).Inject(t.Context())
	if err == nil {
		t.Error("a refused seal counts as injected")
	}
	if _, ok := hold(); ok {
		t.Error("the hold stays")
	}
}

func TestAForeignHoldIsLeftAlone(t *testing.T) {
	env, hold, _ := heldEnv(t, map[string]string{HoldAnnotation: "maintenance until six"})
	sealed := false
	_, err := (&HeldSeal{Env: env, Pod: "vault-0", Seal: func(context.Context) error { sealed = true; return nil }}).Inject(t.Context())
	if !errors.Is(err, ErrUnavailable) || sealed {
		t.Errorf("error %v, sealed %t; want ErrUnavailable and nothing done", err, sealed)
	}
	if err := ReleaseHold(t.Context(), env.Client, Ref{Kind: KindHold, Namespace: "vault", Name: "vault-0"}); err != nil {
		t.Error(err)
	}
	if _, ok := hold(); !ok {
		t.Error("somebody else's hold was taken away")
	}
	if err := ReleaseHold(t.Context(), env.Client, Ref{Kind: KindHold, Namespace: "vault", Name: "gone"}); err != nil {
		t.Errorf("a pod that is gone: %v", err)
	}
}

func TestSealLine(t *testing.T) {
	for log, want := range map[string]bool{
		`{"@level":"info","@message":"vault is sealed","@module":"core"}` + "\n": true,
		"2026-05-01T12:00:00.000Z [INFO]  core: vault is sealed\n":               true,
		`{"@level":"info","@message":"marked as sealed","@module":"core"}`:       false,
		`{"@message":"error","error":"vault is sealed"}`:                         false,
		"": false,
		strings.Repeat("{}\n", 10) + `{"@message":"vault is sealed"}`: true,
	} {
		if line, got := sealLine(strings.NewReader(log)); got != want {
			t.Errorf("%q: %t (%q), want %t", log, got, line, want)
		}
	}
}
