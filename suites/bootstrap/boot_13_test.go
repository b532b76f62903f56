package bootstrap

import (
	"errors"
	"fmt"
	"testing"

	"google.golang.org/grpc/codes"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	kubetesting "k8s.io/client-go/testing"

	"github.com/vaultproof/vaultproof/fixtures/secretmanager"
	"github.com/vaultproof/vaultproof/fixtures/secretmanager/secretmanagertest"
	"github.com/vaultproof/vaultproof/pkg/target"
)

func TestAllDenied(t *testing.T) {
	stranger := account{"default", "default"}
	denied := try{account: stranger, secret: "vault-unseal-share-0", code: codes.PermissionDenied}
	for name, c := range map[string]struct {
		other try
		want  string
	}{
		"as it should be":                {try{secret: "vault-root-token", code: codes.PermissionDenied}, ""},
		"could read":                     {try{secret: "vault-root-token", code: codes.OK}, "AccessSecretVersion on secret vault-root-token in the name of ServiceAccount default/default ends with OK, want PermissionDenied"},
		"could, if it were not disabled": {try{secret: "vault-root-token", code: codes.FailedPrecondition}, "FailedPrecondition, want PermissionDenied"},
		"could, if there were one":       {try{secret: "vault-root-token", code: codes.NotFound}, "NotFound, want PermissionDenied"},
		"granted by a project's role":    {try{secret: "vault-root-token", code: codes.PermissionDenied, granted: []string{"secretmanager.versions.add"}}, "grants ServiceAccount default/default secretmanager.versions.add on secret vault-root-token, want nothing"},
		"unknown to custody":             {try{secret: "vault-root-token", code: codes.Unauthenticated}, "ends with Unauthenticated"},
		"custody is down":                {try{secret: "vault-root-token", code: codes.Unavailable}, "ends with Unavailable"},
	} {
		c.other.account = stranger
		wants(t, name, allDenied([]try{denied, c.other}), c.want)
	}
	unknown := try{account: stranger, code: codes.Unauthenticated}
	for name, tries := range map[string][]try{"none": nil, "unknown": {denied, unknown}} {
		if err := allDenied(tries); !errors.Is(err, errBlind) {
			t.Errorf("%s: %v, want one that says it proves nothing", name, err)
		}
	}
	if err := allDenied([]try{unknown, {account: stranger, code: codes.OK}}); errors.Is(err, errBlind) {
		t.Error("a read that succeeded is taken for blindness")
	}
}

func TestVaultsOwnOnly(t *testing.T) {
	own := try{account: account{"vault", "vault"}, secret: "vault-unseal-share-0", granted: []string{accessPermission}}
	foreign := try{account: own.account, secret: "not-vault-unseal-share-0"}
	wants(t, "as it should be", vaultsOwnOnly(own, foreign), "")
	wants(t, "a project's role", vaultsOwnOnly(own, try{account: own.account, secret: foreign.secret, granted: []string{accessPermission}}), "not-vault-unseal-share-0, which is not its own, want nothing")
	wants(t, "not granted", vaultsOwnOnly(try{account: own.account, secret: own.secret, granted: []string{"secretmanager.versions.add"}}, foreign), "does not grant ServiceAccount vault/vault secretmanager.versions.access")
}

func TestStrangersAreNotVault(t *testing.T) {
	v := visit{vault: account{"vault", "vault"}}
	if got := fmt.Sprint(v.strangers()); got != "[vault/default default/default vaultproof-system/default]" {
		t.Errorf("strangers %s", got)
	}
	v.vault = account{"default", "default"}
	for _, a := range v.strangers() {
		if a == v.vault {
			t.Errorf("Vault's own account %s must be denied", a)
		}
	}
	v.config = configOf(&corev1.ConfigMap{Data: map[string]string{"project": "p", "endpoint": "h:1", "audience": "a", "ca.crt": "pem"}})
	if v.config.Endpoint != "h:1" || v.config.Audience != "a" || string(v.config.CAPEM) != "pem" || v.resource("s") != "projects/p/secrets/s" {
		t.Errorf("configuration %+v, resource %s", v.config.Endpoint, v.resource("s"))
	}
}

// TestMatrixOverTheRealAPI drives the whole of the check's questions against a
// server of the same gRPC API, and then spoils its grants.
func TestMatrixOverTheRealAPI(t *testing.T) {
	h := secretmanagertest.Start(t)
	h.Grant("vault", "vault", secretmanager.RoleAdmin, "vault-")
	owner := h.Client(h.Config("vault", "vault"))
	names := []string{"vault-unseal-share-0", "vault-root-token"}
	for _, name := range names {
		if err := owner.Create(t.Context(), name); err != nil {
			t.Fatal(err)
		}
		version, err := owner.Add(t.Context(), name, []byte("a payload"))
		if err != nil {
			t.Fatal(err)
		}
		if name == "vault-root-token" {
			if err := owner.Destroy(t.Context(), name, version); err != nil {
				t.Fatal(err)
			}
		}
	}
	kube := fake.NewClientset()
	kube.PrependReactor("create", "serviceaccounts", func(action kubetesting.Action) (bool, runtime.Object, error) {
		name := action.(kubetesting.CreateActionImpl).Name
		return true, &authenticationv1.TokenRequest{Status: authenticationv1.TokenRequestStatus{Token: h.Token(action.GetNamespace(), name)}}, nil
	})
	vault := &target.Target{Client: kube}
	v := &visit{config: h.Config("vault", "nobody"), prefix: "vault", secrets: names, vault: account{"vault", "vault"}}

	judge := func() error {
		t.Helper()
		tries, err := v.negative(t.Context(), vault)
		if err != nil || len(tries) != 3*len(names) {
			t.Fatalf("%d tries, error %v", len(tries), err)
		}
		if err := allDenied(tries); err != nil {
			return err
		}
		own, foreign, err := v.vaultGrants(t.Context(), vault)
		if err != nil {
			t.Fatal(err)
		}
		return vaultsOwnOnly(own, foreign)
	}
	wants(t, "as it should be", judge(), "")
	h.Grant("vault", "vault", secretmanager.RoleAccessor, "")
	wants(t, "Vault on the whole project", judge(), "not-vault-unseal-share-0, which is not its own")
	h.Grant("default", "default", secretmanager.RoleVersionAdder, "vault-root-")
	wants(t, "a stranger who writes", judge(), "grants ServiceAccount default/default secretmanager.versions.add on secret vault-root-token")
	h.Grant(target.SystemNamespace, "default", secretmanager.RoleAccessor, "vault-unseal-")
	wants(t, "a stranger who reads", judge(), "ServiceAccount")
}
