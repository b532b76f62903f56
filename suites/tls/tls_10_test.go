package tls

import (
	"crypto/x509"
	"errors"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/vaultproof/vaultproof/pkg/history"
	"github.com/vaultproof/vaultproof/pkg/issuer"
	"github.com/vaultproof/vaultproof/pkg/probe"
	"github.com/vaultproof/vaultproof/pkg/target"
)

func somePod(name, uid string, restarts int32) corev1.Pod {
	return corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID(uid)}, Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{Name: "vault", RestartCount: restarts}}}}
}

func TestNotRestarted(t *testing.T) {
	before := []corev1.Pod{somePod("vault-0", "a", 1), somePod("vault-1", "b", 0)}
	for name, c := range map[string]struct {
		after []corev1.Pod
		want  string
	}{
		"as they were":          {before, ""},
		"a container restarted": {[]corev1.Pod{somePod("vault-0", "a", 2), before[1]}, "container vault of pod vault-0 restarted"},
		"a pod was replaced":    {[]corev1.Pod{before[0], somePod("vault-1", "c", 0)}, "pod vault-1 was replaced"},
		"a pod is gone":         {before[:1], "pod vault-1 was replaced"},
	} {
		says(t, name, notRestarted(before, c.after), c.want)
	}
}

func TestServedEverywhere(t *testing.T) {
	leaf := func() *x509.Certificate {
		_, pair := certified(t, time.Hour, "vault")
		cert, err := issuer.Leaf(pair.Cert)
		if err != nil {
			t.Fatal(err)
		}
		return cert
	}
	old, next := leaf(), leaf()
	pods := []corev1.Pod{somePod("vault-0", "a", 0), somePod("vault-1", "b", 0)}
	if !everywhere(next, map[string]*x509.Certificate{"vault-0": next, "vault-1": next}, pods) {
		t.Error("a certificate that all serve is not served")
	}
	mixed := map[string]*x509.Certificate{"vault-0": next, "vault-1": old}
	if everywhere(next, mixed, pods) || everywhere(next, map[string]*x509.Certificate{"vault-0": next}, pods) {
		t.Error("a certificate that one pod does not serve is served everywhere")
	}
	says(t, "one serves the old one", late(time.Now(), next, mixed, pods), "vault-1 serves serial "+old.SerialNumber.String())
}

func TestInstalledByUs(t *testing.T) {
	for _, want := range []bool{true, false} {
		set := &appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Namespace: "vault", Name: "vault"}}
		if want {
			set.Labels = map[string]string{target.ManagedBy: target.ManagedByValue}
		}
		vault := &target.Target{Client: fake.NewClientset(set), Namespace: "vault", StatefulSet: "vault"}
		if own, err := installedByUs(t.Context(), vault); err != nil || own != want {
			t.Errorf("installed by us: %t (%v), want %t", own, err, want)
		}
	}
	if _, err := installedByUs(t.Context(), &target.Target{Client: fake.NewClientset(), Namespace: "vault", StatefulSet: "gone"}); err == nil {
		t.Error("a StatefulSet that is not there was installed by us, or by somebody else")
	}
}

func TestNoneFailed(t *testing.T) {
	at := time.Now()
	op := func(after time.Duration, outcome history.Outcome) history.Op {
		return history.Op{Kind: history.Write, Call: at.Add(after).UnixNano(), Outcome: outcome, Error: "broken"}
	}
	good := []history.Op{op(0, history.OK), op(time.Second, history.OK)}
	says(t, "all are well", noneFailed(good), "")
	says(t, "one failed", noneFailed(append(good, op(2*time.Second, history.Fail))), "1 of 3 operations failed")
	says(t, "one is in doubt", noneFailed(append(good, op(2*time.Second, history.Unknown))), "ended unknown: broken")
	all := []history.Op{op(-time.Second, history.Fail), op(0, history.OK), op(time.Second, history.OK), op(3*time.Second, history.Fail)}
	if got := during(all, at, at.Add(2*time.Second)); len(got) != 2 {
		t.Errorf("%d operations in between", len(got))
	}
	span := probe.Span{Fault: at, End: at.Add(10 * time.Second)}
	if err := enough(all, span, 100); !errors.Is(err, probe.ErrTraffic) {
		t.Errorf("four operations in ten seconds suffice: %v", err)
	}
	says(t, "a rate of none", enough(nil, span, 0), "")
}

// TestVerifiedHandshakes greets a server whose certificate is by the wrong CA.
func TestAClientThatVerifiesIsRefused(t *testing.T) {
	vault, _ := fakeVault(t, "vault-active.vault.svc")
	if _, err := greet(t.Context(), vault, unverified("vault-active.vault.svc"), nil); err != nil {
		t.Fatal(err)
	}
	config := unverified("vault-active.vault.svc")
	config.InsecureSkipVerify, config.RootCAs = false, x509.NewCertPool()
	if _, err := greet(t.Context(), vault, config, nil); err == nil || isUnreachable(err) {
		t.Errorf("a certificate by nobody: %v", err)
	}
}
