package bootstrap

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"cloud.google.com/go/iam/apiv1/iampb"
	"github.com/onsi/ginkgo/v2"
	"golang.org/x/oauth2"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/custody"
	"github.com/vaultproof/vaultproof/pkg/target"
)

var boot13 = conformance.Check{
	ID: "BOOT-13", Area: area, Level: conformance.Must, Manner: conformance.Reads,
	Assertion: "custody grants access per secret and per principal: service accounts other than Vault's get PermissionDenied for every secret, and Vault's has nothing beyond its own prefix",
	Source:    "Secret Manager IAM; workshop scripts/04 (over-broad roles)",
	Observe:   "AccessSecretVersion and testIamPermissions on every secret in the name of the default service accounts of three namespaces; testIamPermissions in the name of Vault's on a share and on a secret that is not its own; the runner's own read as a control",
}

// custodyMap is the ConfigMap that tells where custody is.
const custodyMap = "vault-custody"

// accessPermission reads a secret; the others change it or who may read it.
const accessPermission = "secretmanager.versions.access"

var permissions = []string{
	accessPermission, "secretmanager.versions.add", "secretmanager.versions.enable", "secretmanager.versions.disable",
	"secretmanager.versions.destroy", "secretmanager.secrets.delete", "secretmanager.secrets.setIamPolicy",
}

var _ = conformance.It(boot13, conformance.Conformance, func(ctx ginkgo.SpecContext, r *conformance.Case) error {
	v, err := readVisit(ctx, r.Target)
	if err != nil {
		return r.CannotTell(err)
	}
	if v.config.Endpoint == "" {
		return r.Skip("custody is Google's own, where a Kubernetes token alone is nobody's: judge its IAM policies instead")
	}
	var needed []target.Permission
	for _, a := range append(v.strangers(), v.vault) {
		needed = append(needed, target.Permission{Verb: "create", Resource: "serviceaccounts", Subresource: "token", Namespace: a.namespace})
	}
	if err := r.Target.MustAllow(ctx, needed); err != nil {
		return r.CannotTell(err)
	}
	// What nobody can read would look denied: the same endpoint and the same
	// secret, with an account that may.
	share, err := r.Target.Secret(ctx, target.ShareSecret+"0")
	if err != nil {
		return r.CannotTell(fmt.Errorf("the runner's own read, which is the control: %w", err))
	}
	clear(share)
	tries, err := v.negative(ctx, r.Target)
	if err != nil {
		return r.CannotTell(err)
	}
	r.Measure("denials_wanted_total", float64(len(tries)))
	if err := allDenied(tries); err != nil {
		if errors.Is(err, errBlind) {
			return r.CannotTell(err)
		}
		return err
	}
	own, foreign, err := v.vaultGrants(ctx, r.Target)
	if err != nil {
		return r.CannotTell(err)
	}
	return vaultsOwnOnly(own, foreign)
})

// account is a service account.
type account struct{ namespace, name string }

func (a account) String() string { return a.namespace + "/" + a.name }

// visit is what it takes to call on custody in the name of any account.
type visit struct {
	config  custody.Config
	prefix  string
	secrets []string // of this Vault
	vault   account
}

func readVisit(ctx context.Context, t *target.Target) (*visit, error) {
	secrets, err := t.CustodySecrets(ctx)
	if err != nil {
		return nil, err
	}
	template, err := t.Template(ctx)
	if err != nil {
		return nil, err
	}
	cm, err := t.Client.CoreV1().ConfigMaps(t.Namespace).Get(ctx, custodyMap, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("reading ConfigMap %s/%s: %w", t.Namespace, custodyMap, err)
	}
	return &visit{
		config:  configOf(cm),
		prefix:  t.CustodyPrefix,
		secrets: secrets,
		vault:   account{t.Namespace, cmp.Or(template.Spec.ServiceAccountName, "default")},
	}, nil
}

func configOf(cm *corev1.ConfigMap) custody.Config {
	return custody.Config{Project: cm.Data["project"], Endpoint: cm.Data["endpoint"], CAPEM: []byte(cm.Data["ca.crt"]), Audience: cm.Data["audience"]}
}

// strangers are the accounts that a pod gets if nobody thinks about it: beside
// Vault, anywhere, and beside the suites.
func (v *visit) strangers() []account {
	all := []account{{v.vault.namespace, "default"}, {metav1.NamespaceDefault, "default"}, {target.SystemNamespace, "default"}}
	return slices.DeleteFunc(all, func(a account) bool { return a == v.vault })
}

// as connects to custody in the name of an account, with a token of ten
// minutes.
func (v *visit) as(ctx context.Context, t *target.Target, a account) (*custody.Client, error) {
	life := int64((10 * time.Minute).Seconds()) // the shortest that the API server grants
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &life}}
	if v.config.Audience != "" {
		request.Spec.Audiences = []string{v.config.Audience}
	}
	got, err := t.Client.CoreV1().ServiceAccounts(a.namespace).CreateToken(ctx, a.name, request, metav1.CreateOptions{})
	if err != nil {
		return nil, fmt.Errorf("requesting a token of ServiceAccount %s: %w", a, err)
	}
	config := v.config
	config.TokenSource = oauth2.StaticTokenSource(&oauth2.Token{AccessToken: got.Status.Token, TokenType: "Bearer"})
	client, err := custody.Dial(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("connecting to custody in the name of %s: %w", a, err)
	}
	return client, nil
}

func (v *visit) resource(secret string) string {
	return "projects/" + v.config.Project + "/secrets/" + secret
}

// try is what one account got for one secret.
type try struct {
	account account
	secret  string
	code    codes.Code // of AccessSecretVersion
	granted []string   // by testIamPermissions
}

// negative has every stranger try every secret. An account that does not exist
// tries nothing.
func (v *visit) negative(ctx context.Context, t *target.Target) ([]try, error) {
	var tries []try
	for _, a := range v.strangers() {
		client, err := v.as(ctx, t, a)
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, secret := range v.secrets {
			one, err := v.try(ctx, client, secret)
			if err != nil {
				client.Close()
				return nil, fmt.Errorf("in the name of %s: %w", a, err)
			}
			one.account = a
			tries = append(tries, one)
		}
		client.Close()
	}
	return tries, nil
}

func (v *visit) try(ctx context.Context, client *custody.Client, secret string) (try, error) {
	got, err := client.ReadVersion(ctx, secret, "latest")
	got.Payload.Wipe()
	one := try{secret: secret, code: status.Code(err)}
	if err != nil && one.code == codes.Unknown {
		return one, err // not an answer of custody
	}
	one.granted, err = v.granted(ctx, client, secret)
	return one, err
}

// granted asks custody which of the permissions the client has on a secret. A
// custody that does not even say so grants none.
func (v *visit) granted(ctx context.Context, client *custody.Client, secret string) ([]string, error) {
	answer, err := client.API().TestIamPermissions(ctx, &iampb.TestIamPermissionsRequest{Resource: v.resource(secret), Permissions: permissions})
	switch status.Code(err) {
	case codes.OK:
		return answer.GetPermissions(), nil
	case codes.PermissionDenied, codes.NotFound:
		return nil, nil
	}
	return nil, fmt.Errorf("asking for the permissions on %s: %w", v.resource(secret), err)
}

// vaultGrants asks, in the name of Vault's account, for its permissions on the
// first share and on one of another Vault.
func (v *visit) vaultGrants(ctx context.Context, t *target.Target) (own, foreign try, err error) {
	client, err := v.as(ctx, t, v.vault)
	if err != nil {
		return own, foreign, err
	}
	defer client.Close()
	own = try{account: v.vault, secret: v.prefix + "-" + target.ShareSecret + "0"}
	foreign = try{account: v.vault, secret: "not-" + own.secret}
	if own.granted, err = v.granted(ctx, client, own.secret); err != nil {
		return own, foreign, err
	}
	foreign.granted, err = v.granted(ctx, client, foreign.secret)
	return own, foreign, err
}

// allDenied judges the strangers' tries. Nobody having tried, a token that
// custody does not know, or a custody in trouble proves nothing: errBlind.
func allDenied(tries []try) error {
	for _, t := range tries {
		switch {
		case len(t.granted) > 0:
			return fmt.Errorf("custody grants ServiceAccount %s %s on secret %s, want nothing: grant roles per secret, to Vault's account alone (Secret Manager IAM)", t.account, strings.Join(t.granted, ", "), t.secret)
		case t.code == codes.OK, t.code == codes.FailedPrecondition, t.code == codes.NotFound:
			return fmt.Errorf("AccessSecretVersion on secret %s in the name of ServiceAccount %s ends with %s, want PermissionDenied: it may read what there is (Secret Manager IAM)", t.secret, t.account, t.code)
		}
	}
	for _, t := range tries {
		if t.code != codes.PermissionDenied {
			return fmt.Errorf("%w: AccessSecretVersion on secret %s in the name of ServiceAccount %s ends with %s", errBlind, t.secret, t.account, t.code)
		}
	}
	if len(tries) == 0 {
		return fmt.Errorf("%w: no other service account tried any secret", errBlind)
	}
	return nil
}

// vaultsOwnOnly judges what Vault's account is granted.
func vaultsOwnOnly(own, foreign try) error {
	if !slices.Contains(own.granted, accessPermission) {
		return fmt.Errorf("custody does not grant ServiceAccount %s %s on secret %s (it grants %v), want it: Vault cannot be unsealed", own.account, accessPermission, own.secret, own.granted)
	}
	if len(foreign.granted) > 0 {
		return fmt.Errorf("custody grants ServiceAccount %s %s on secret %s, which is not its own, want nothing: grant roles per secret, not on the project (Secret Manager IAM)",
			foreign.account, strings.Join(foreign.granted, ", "), foreign.secret)
	}
	return nil
}
