package tenancy

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/hashicorp/vault/api"
	authenticationv1 "k8s.io/api/authentication/v1"

	"github.com/vaultproof/vaultproof/pkg/ceremony/vaulttest"
	"github.com/vaultproof/vaultproof/pkg/ingress"
	"github.com/vaultproof/vaultproof/pkg/issuer"
	"github.com/vaultproof/vaultproof/pkg/tenancy"
)

// reviewing is an API server that makes tokens and reviews them, and does nothing else.
type reviewing struct {
	t      *testing.T
	key    *ecdsa.PrivateKey
	server *httptest.Server

	mu   sync.Mutex
	gone []string // tokens whose owner was deleted
	mute chan struct{}
}

func newReviewing(t *testing.T) *reviewing {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a := &reviewing{t: t, key: key}
	a.server = httptest.NewTLSServer(http.HandlerFunc(a.review))
	t.Cleanup(a.server.Close)
	return a
}

// token is one of a service account, as an API server makes it.
func (a *reviewing) token(namespace, account, audience string, lasting time.Duration) string {
	a.t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: a.key}, (&jose.SignerOptions{}).WithHeader("kid", "k"))
	if err != nil {
		a.t.Fatal(err)
	}
	now := time.Now()
	token, err := jwt.Signed(signer).Claims(map[string]any{
		"aud": []string{audience}, "exp": now.Add(lasting).Unix(), "iat": now.Add(-time.Hour).Unix(), "nbf": now.Add(-time.Hour).Unix(),
		"iss": "https://issuer.example", "sub": "system:serviceaccount:" + namespace + ":" + account,
		"kubernetes.io": map[string]any{"namespace": namespace, "serviceaccount": map[string]any{"name": account, "uid": "uid-of-" + account}},
	}).Serialize()
	if err != nil {
		a.t.Fatal(err)
	}
	return token
}

// good tells whether this cluster made a token that still counts, and for whom it is.
func (a *reviewing) good(token string) (user string, audience []string) {
	parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		return "", nil
	}
	var claims jwt.Claims
	if err := parsed.Claims(a.key.Public(), &claims); err != nil || claims.Expiry.Time().Before(time.Now()) {
		return "", nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if slices.Contains(a.gone, token) {
		return "", nil
	}
	return claims.Subject, claims.Audience
}

func (a *reviewing) review(w http.ResponseWriter, q *http.Request) {
	if mute := a.silence(); mute != nil {
		select {
		case <-mute:
		case <-q.Context().Done():
		}
		return
	}
	asks, audience := a.good(strings.TrimPrefix(q.Header.Get("Authorization"), "Bearer "))
	if asks == "" || !slices.Contains(audience, tenancy.DefaultAudience) {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	var review authenticationv1.TokenReview
	_ = json.NewDecoder(q.Body).Decode(&review)
	if user, _ := a.good(review.Spec.Token); user != "" {
		review.Status = authenticationv1.TokenReviewStatus{
			Authenticated: true, Audiences: review.Spec.Audiences,
			User: authenticationv1.UserInfo{Username: user, UID: "uid-of-" + user[strings.LastIndex(user, ":")+1:]},
		}
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(review)
}

func (a *reviewing) silence() chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.mute
}

// tenantOn sets a tenant up on a real Vault, as the Terraform module does.
func tenantOn(t *testing.T, v *vaulttest.Vault, a *reviewing) *Env {
	t.Helper()
	tenant := tenancy.NewTenant("a")
	root := v.Root()
	if err := root.Sys().EnableAuthWithOptions(tenant.Mount, &api.EnableAuthOptions{Type: "kubernetes"}); err != nil {
		t.Fatal(err)
	}
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.server.Certificate().Raw})
	if _, err := root.Logical().Write(configPath(tenant), map[string]any{
		"kubernetes_host": a.server.URL, "kubernetes_ca_cert": string(ca), "disable_local_ca_jwt": true, "disable_iss_validation": true,
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := root.Logical().Write(rolePath(tenant, tenant.Role), map[string]any{
		"bound_service_account_names": tenant.ServiceAccount, "bound_service_account_namespaces": tenant.Namespace,
		"audience": tenant.Audience, "token_policies": tenant.Policy, "token_no_default_policy": true, "token_ttl": 900,
	}); err != nil {
		t.Fatal(err)
	}
	ca, err := os.ReadFile(v.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	dial := func(ctx context.Context) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", strings.TrimPrefix(v.Address, "https://"))
	}
	door, err := tenancy.Through(ingress.Door{Host: "localhost", Passthrough: true, Entries: []ingress.Entry{{Name: "vault", DialTLS: dial}}},
		&tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(door.Close)
	return &Env{Door: door, A: tenant, B: tenancy.NewTenant("b")}
}

// What Vault really answers to each kind of stranger, if there is a Vault at hand; and that a
// role without bounds lets them in, which is what the check is for.
func TestStrangersOnARealVault(t *testing.T) {
	v := vaulttest.Start(t)
	a := newReviewing(t)
	e := tenantOn(t, v, a)
	right := a.token(e.A.Namespace, e.A.ServiceAccount, e.A.Audience, time.Hour)
	login := func(what, token string) attempt {
		return attempt{what: what, mount: e.A.Mount, role: e.A.Role, jwt: token}
	}
	if let, err := e.tryOnce(t.Context(), login("the right one", right)); err != nil || admitted(let, e.A.Policy) != nil {
		t.Fatalf("%v, %v", err, admitted(let, e.A.Policy))
	}
	forged, err := signedElsewhere(right)
	if err != nil {
		t.Fatal(err)
	}
	bare, err := unsigned(right)
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := login("another namespace", a.token("other", e.A.ServiceAccount, e.A.Audience, time.Hour))
	outlived := a.token(e.A.Namespace, e.A.ServiceAccount, e.A.Audience, 2*time.Hour)
	a.mu.Lock()
	a.gone = append(a.gone, outlived)
	a.mu.Unlock()
	var outcomes []outcome
	for _, stranger := range []attempt{
		elsewhere,
		login("another account", a.token(e.A.Namespace, "other", e.A.Audience, time.Hour)),
		login("another audience", a.token(e.A.Namespace, e.A.ServiceAccount, "nobody", time.Hour)),
		login("another tenant", a.token(e.B.Namespace, e.B.ServiceAccount, e.B.Audience, time.Hour)),
		login("expired", a.token(e.A.Namespace, e.A.ServiceAccount, e.A.Audience, -5*time.Minute)),
		login("deleted", outlived), login("forged", forged), login("unsigned", bare), login("garbage", "vaultproof.is.nobody"),
	} {
		outcomes = append(outcomes, e.try(t.Context(), stranger))
	}
	if err := silent(outcomes); err != nil {
		t.Error(err)
	}
	if err := refused(outcomes); err != nil {
		t.Error(err)
	}
	if _, err := v.Root().Logical().Write(rolePath(e.A, e.A.Role), map[string]any{"bound_service_account_namespaces": "*"}); err != nil {
		t.Fatal(err)
	}
	if err := refused([]outcome{e.try(t.Context(), elsewhere)}); err == nil || !strings.Contains(err.Error(), "another namespace got a token") {
		t.Errorf("a role for every namespace: %v, want to be told who gets in", err)
	}
}

// An API server that says nothing keeps nobody waiting longer than he wants to, and lets
// nobody in.
func TestASilentAPIServerOnARealVault(t *testing.T) {
	v := vaulttest.Start(t)
	a := newReviewing(t)
	e := tenantOn(t, v, a)
	right := attempt{what: "the right one", mount: e.A.Mount, role: e.A.Role, jwt: a.token(e.A.Namespace, e.A.ServiceAccount, e.A.Audience, time.Hour)}
	a.mu.Lock()
	a.mute = make(chan struct{})
	a.mu.Unlock()
	o := e.try(t.Context(), right)
	if o.auth != nil || o.took > patience+overdue || o.took < patience-overdue {
		t.Errorf("it ended after %s with %v (%v)", o.took, o.auth, o.err)
	}
	a.mu.Lock()
	close(a.mute)
	a.mute = nil
	a.mu.Unlock()
	if err := admitted(e.try(t.Context(), right), e.A.Policy); err != nil {
		t.Errorf("when it answers again: %v", err)
	}
}

// Each kind of change to what tokens are reviewed with is made while somebody logs in.
func TestARotationOnARealVault(t *testing.T) {
	v := vaulttest.Start(t)
	a := newReviewing(t)
	e := tenantOn(t, v, a)
	config, err := v.Root().Logical().Read(configPath(e.A))
	if err != nil {
		t.Fatal(err)
	}
	ca, err := issuer.NewCA("to come", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	turn := &rotation{env: e, before: config.Data, ca: ca.PEM(), put: func(ctx context.Context, path string, data map[string]any) error {
		_, err := v.Root().Logical().WriteWithContext(ctx, path, data)
		return err
	}}
	token := a.token(e.A.Namespace, e.A.ServiceAccount, e.A.Audience, time.Hour)
	turn.token.Store(&token)
	first, second := a.token("r", "first", e.A.Audience, time.Hour), a.token("r", "second", e.A.Audience, time.Hour)
	rotate := func(steps ...func() error) error {
		logins := flowing(t.Context(), time.Second/loginRate, turn.login)
		defer logins.end()
		for _, step := range steps {
			if err := errors.Join(pause(t.Context(), 250*time.Millisecond), step()); err != nil {
				t.Fatal(err)
			}
		}
		if err := pause(t.Context(), 250*time.Millisecond); err != nil {
			t.Fatal(err)
		}
		return costless(logins.end())
	}
	set := func(field, value string) func() error {
		return func() error { return turn.configure(t.Context(), map[string]any{field: value}) }
	}
	back := func() error { return turn.configure(t.Context(), nil) }
	revoke := func() error {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.gone = append(a.gone, first)
		return nil
	}
	err = rotate(set("kubernetes_ca_cert", turn.bothCAs()), back, set("token_reviewer_jwt", first), set("token_reviewer_jwt", second), revoke, back)
	if err != nil {
		t.Errorf("in the right order: %v", err)
	}
	now, err := v.Root().Logical().Read(configPath(e.A))
	if err != nil {
		t.Fatal(err)
	}
	if err := same(configPath(e.A), config.Data, now.Data); err != nil {
		t.Error(err)
	}
	if rotate(set("token_reviewer_jwt", first), back) == nil {
		t.Error("a reviewer that is revoked already costs no login")
	}
}
