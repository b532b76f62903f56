package stack

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	ktesting "k8s.io/client-go/testing"

	"github.com/vaultproof/vaultproof/pkg/issuer"
)

// now is the plan for namespace vault at this moment.
func now() plan { return plan{namespace: "vault", now: time.Now()} }

// deployed is what an earlier deployment left, whose certificate and root are good for
// that long from now on.
func deployed(t *testing.T, leafLeft, rootLeft time.Duration) certificates {
	t.Helper()
	ca, err := issuer.NewCA("vaultproof vault", rootLeft)
	if err != nil {
		t.Fatal(err)
	}
	server, err := ca.Server("vault", serverNames("vault"), leafLeft)
	if err != nil {
		t.Fatal(err)
	}
	authority, err := ca.Keypair()
	if err != nil {
		t.Fatal(err)
	}
	return certificates{server: server, trust: server.CA, authority: authority}
}

func again(t *testing.T, p plan, server, authority issuer.Keypair) certificates {
	t.Helper()
	c, err := p.certificates(server, authority)
	if err != nil {
		t.Fatal(err)
	}
	if err := issuer.Verify(c.server, serverNames(p.namespace), p.now); err != nil {
		t.Errorf("the server certificate is no good: %v", err)
	}
	if !bytes.Equal(c.trust, c.server.CA) {
		t.Error("clients trust other roots than the pods")
	}
	if _, err := issuer.LoadCA(c.authority); err != nil {
		t.Errorf("the root cannot sign: %v", err)
	}
	return c
}

// verifies tells whether who trusts the roots accepts the server.
func verifies(server issuer.Keypair, trust []byte, at time.Time) bool {
	server.CA = trust
	return issuer.Verify(server, serverNames("vault"), at) == nil
}

func TestGoodCertificatesStay(t *testing.T) {
	p, first := now(), deployed(t, leafLife, rootLife)
	if c := again(t, p, first.server, first.authority); !bytes.Equal(c.server.Cert, first.server.Cert) || !bytes.Equal(c.authority.Cert, first.authority.Cert) || !bytes.Equal(c.trust, first.trust) {
		t.Error("a certificate that is good was replaced")
	}
}

func TestARenewalIsByTheRootThatClientsKnow(t *testing.T) {
	p, first := now(), deployed(t, reuseFor-time.Hour, rootLife)
	c := again(t, p, first.server, first.authority)
	if bytes.Equal(c.server.Cert, first.server.Cert) {
		t.Fatal("a certificate that is due was kept")
	}
	if !verifies(c.server, first.trust, p.now) || !verifies(first.server, c.trust, p.now) {
		t.Error("a client on one side of the renewal refuses the other side")
	}
}

func TestANewRootIsAnnouncedFirst(t *testing.T) {
	p, first := now(), deployed(t, reuseFor-time.Hour, rootLife)
	announced := again(t, p, first.server, issuer.Keypair{}) // the key of the root is lost
	if !verifies(announced.server, first.trust, p.now) {
		t.Fatal("a client that has not heard of the new root is locked out at once")
	}
	replaced := again(t, p, announced.server, announced.authority)
	if verifies(replaced.server, first.trust, p.now) {
		t.Error("the new root was never used")
	}
	if !verifies(replaced.server, announced.trust, p.now) || !verifies(first.server, replaced.trust, p.now) {
		t.Error("a client that has heard of the announcement is locked out")
	}
	if third := again(t, p, replaced.server, replaced.authority); !bytes.Equal(third.server.Cert, replaced.server.Cert) {
		t.Error("the replacement does not come to an end")
	}
}

func TestAnExpiredOrUnfitCertificateIsReplacedAtOnce(t *testing.T) {
	p, first := now(), deployed(t, -time.Minute, rootLife)
	if c := again(t, p, first.server, issuer.Keypair{}); bytes.HasPrefix(c.server.Cert, first.server.Cert) {
		t.Error("an expired certificate was kept for the sake of an announcement")
	}
	p, first = plan{namespace: "other", now: time.Now()}, deployed(t, leafLife, rootLife)
	if c := again(t, p, first.server, first.authority); bytes.Equal(c.server.Cert, first.server.Cert) {
		t.Error("a certificate for other names was kept")
	}
	if c := again(t, now(), issuer.Keypair{}, issuer.Keypair{}); len(c.server.Cert) == 0 {
		t.Error("there is no first certificate")
	}
}

func TestCertificatesAreReadFromTheCluster(t *testing.T) {
	first := deployed(t, leafLife, rootLife)
	secret := func(name string, pair issuer.Keypair) *corev1.Secret {
		return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "vault"},
			Data: map[string][]byte{"tls.crt": pair.Cert, "tls.key": pair.Key, "ca.crt": pair.CA}}
	}
	stored := client("", secret(tlsSecret, first.server), secret(authoritySecret, first.authority))
	c, err := ownCertificates(t.Context(), stored, "vault")
	if err != nil || !bytes.Equal(c.server.Key, first.server.Key) || !bytes.Equal(c.authority.Key, first.authority.Key) {
		t.Errorf("what is in the cluster was not kept (%v)", err)
	}
	if c, err := ownCertificates(t.Context(), client(""), "vault"); err != nil || len(c.server.Cert) == 0 || len(c.authority.Key) == 0 {
		t.Errorf("the first certificates were not made: %v", err)
	}
	refused := client("", secret(tlsSecret, first.server))
	refused.PrependReactor("get", "secrets", func(ktesting.Action) (bool, runtime.Object, error) {
		return true, nil, errors.New("no right to read it")
	})
	if _, err := ownCertificates(t.Context(), refused, "vault"); err == nil || !strings.Contains(err.Error(), tlsSecret) {
		t.Errorf("got %v, want which Secret cannot be read", err)
	}
}

func TestARootThatEndsIsReplaced(t *testing.T) {
	first := deployed(t, leafLife, 2*leafLife-time.Hour)
	c := again(t, now(), first.server, first.authority)
	if bytes.Equal(c.authority.Cert, first.authority.Cert) {
		t.Error("a root that cannot sign a whole leaf and one more was kept")
	}
	if !verifies(c.server, first.trust, time.Now()) {
		t.Error("clients that know the old root alone are locked out")
	}
	broken := issuer.Keypair{Cert: first.authority.Cert, Key: []byte("x")}
	if c := again(t, now(), first.server, broken); bytes.Equal(c.authority.Key, broken.Key) {
		t.Error("a root without a usable key was kept")
	}
}
