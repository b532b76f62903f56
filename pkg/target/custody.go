package target

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/oauth2"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/vaultproof/vaultproof/pkg/custody"
	"github.com/vaultproof/vaultproof/pkg/kube"
)

// custodyName is the ConfigMap that tells where keys are kept.
const custodyName = "vault-custody"

// Suffixes of the secrets in custody, after "<prefix>-".
const (
	RootTokenSecret        = "root-token"
	ProvisionerTokenSecret = "provisioner-token"
	ShareSecret            = "unseal-share-"
	tokenSuffix            = "-token"
)

// readTimeout bounds one read of custody, whose client retries by itself.
const readTimeout = 10 * time.Second

// tokenLife is how long a custody token of the runner lives, in seconds. The
// shortest that the API server grants is 600.
const tokenLife = 3600

// findCustody connects to the custody that ConfigMap vault-custody names. Its
// absence is no error: checks that need custody then say so.
func (t *Target) findCustody(ctx context.Context, opts Options) error {
	cm, err := t.Client.CoreV1().ConfigMaps(t.Namespace).Get(ctx, custodyName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		t.CustodyReason = fmt.Sprintf("there is no ConfigMap %s in namespace %s", custodyName, t.Namespace)
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading ConfigMap %s/%s: %w", t.Namespace, custodyName, err)
	}
	endpoint := cm.Data["endpoint"]
	if opts.CustodyEndpoint != "" {
		endpoint = opts.CustodyEndpoint
	}
	t.CustodyPrefix = cm.Data["prefix"]
	if t.CustodyPrefix == "" {
		t.CustodyPrefix = "vault"
	}
	config := custody.Config{
		Project:  cm.Data["project"],
		Endpoint: endpoint,
		CAPEM:    []byte(cm.Data["ca.crt"]),
		Audience: cm.Data["audience"],
	}
	if endpoint != "" {
		if config.TokenSource, err = RunnerTokens(ctx, t.Client, config.Audience); err != nil {
			return err
		}
	}
	store, err := custody.Dial(ctx, config)
	if err != nil {
		return fmt.Errorf("connecting to custody at %s: %w", endpoint, err)
	}
	t.Custody = store
	return nil
}

// RunnerTokens are tokens for custody's audience of the service account of the
// suites, which is created if it is absent. They are asked for as needed.
func RunnerTokens(ctx context.Context, client kubernetes.Interface, audience string) (oauth2.TokenSource, error) {
	if err := ensureRunner(ctx, client); err != nil {
		return nil, err
	}
	return oauth2.ReuseTokenSource(nil, &runnerTokens{ctx: ctx, client: client, audience: audience}), nil
}

// ensureRunner creates the service account of the suites, and its namespace, if
// they are absent. What exists is left as it is.
func ensureRunner(ctx context.Context, client kubernetes.Interface) error {
	ours := map[string]string{ManagedBy: ManagedByValue}
	_, err := client.CoreV1().ServiceAccounts(SystemNamespace).Get(ctx, RunnerAccount, metav1.GetOptions{})
	if err == nil {
		return nil
	}
	if !apierrors.IsNotFound(err) {
		return fmt.Errorf("reading ServiceAccount %s/%s: %w", SystemNamespace, RunnerAccount, err)
	}
	if err := kube.EnsureNamespace(ctx, client, SystemNamespace); err != nil {
		return fmt.Errorf("making a place for the suites' service account: %w", err)
	}
	_, err = client.CoreV1().ServiceAccounts(SystemNamespace).Create(ctx, &corev1.ServiceAccount{
		ObjectMeta: metav1.ObjectMeta{Name: RunnerAccount, Namespace: SystemNamespace, Labels: ours},
	}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("creating ServiceAccount %s/%s: %w", SystemNamespace, RunnerAccount, err)
	}
	return nil
}

// runnerTokens asks the API server for service-account tokens bound to the
// audience of custody.
type runnerTokens struct {
	ctx      context.Context // the oauth2 interface passes none
	client   kubernetes.Interface
	audience string
}

func (r *runnerTokens) Token() (*oauth2.Token, error) {
	life := int64(tokenLife)
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &life}}
	if r.audience != "" {
		request.Spec.Audiences = []string{r.audience}
	}
	// The context of the set-up ends before the token does; its values stay.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.ctx), 30*time.Second)
	defer cancel()
	got, err := r.client.CoreV1().ServiceAccounts(SystemNamespace).CreateToken(ctx, RunnerAccount, request, metav1.CreateOptions{})
	if err != nil {
		return nil, fmt.Errorf("requesting a token of ServiceAccount %s/%s for custody: %w", SystemNamespace, RunnerAccount, err)
	}
	return &oauth2.Token{AccessToken: got.Status.Token, TokenType: "Bearer", Expiry: got.Status.ExpirationTimestamp.Time}, nil
}

// ErrNoCustody means that the target names no custody.
var ErrNoCustody = errors.New("the target names no custody")

// Secret reads the latest version of "<prefix>-<suffix>" from custody. Only the
// error is fit for a message.
func (t *Target) Secret(ctx context.Context, suffix string) ([]byte, error) {
	if t.Custody == nil {
		return nil, fmt.Errorf("%w: %s", ErrNoCustody, t.CustodyReason)
	}
	name := t.CustodyPrefix + "-" + suffix
	secret, err := t.readCustody(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("reading %s from custody: %w", name, err)
	}
	return secret.Payload, nil
}

func (t *Target) readCustody(ctx context.Context, name string) (custody.Secret, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	return t.Custody.Read(ctx, name)
}

// CustodyVersions counts the versions of each of this target's secrets, those
// that are disabled or destroyed included.
func (t *Target) CustodyVersions(ctx context.Context) (map[string]int, error) {
	names, err := t.CustodySecrets(ctx)
	if err != nil {
		return nil, err
	}
	counts := make(map[string]int, len(names))
	for _, name := range names {
		versions, err := t.Custody.Versions(ctx, name)
		if err != nil {
			return nil, fmt.Errorf("listing the versions of %s in custody: %w", name, err)
		}
		counts[name] = len(versions)
	}
	return counts, nil
}

// CustodySecrets lists the names of this target's secrets in custody.
func (t *Target) CustodySecrets(ctx context.Context) ([]string, error) {
	if t.Custody == nil {
		return nil, fmt.Errorf("%w: %s", ErrNoCustody, t.CustodyReason)
	}
	all, err := t.Custody.List(ctx)
	if err != nil {
		return nil, fmt.Errorf("listing custody: %w", err)
	}
	var ours []string
	for _, name := range all {
		if strings.HasPrefix(name, t.CustodyPrefix+"-") {
			ours = append(ours, name)
		}
	}
	return ours, nil
}
