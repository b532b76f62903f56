package target

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
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

// findCustody connects to the custody that the target file or ConfigMap vault-custody
// names. Its absence is no error: checks that need custody then say so.
func (t *Target) findCustody(ctx context.Context, file File, opts Options) error {
	data, err := t.custodyData(ctx, file)
	if err != nil || data == nil {
		return err
	}
	endpoint := cmp.Or(opts.CustodyEndpoint, data["endpoint"])
	t.CustodyPrefix = cmp.Or(data["prefix"], "vault")
	config := custody.Config{
		Project:  data["project"],
		Endpoint: endpoint,
		CAPEM:    []byte(data["ca.crt"]),
		Audience: data["audience"],
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

// custodyData is what the ConfigMap says, and over it what the target file does; nil if
// neither says anything.
func (t *Target) custodyData(ctx context.Context, file File) (map[string]string, error) {
	told := file.Custody
	namespace, name := t.Namespace, custodyName
	if told != nil {
		namespace, name = told.place(t.Namespace)
	}
	data := map[string]string{}
	if name != "" {
		cm, err := t.Client.CoreV1().ConfigMaps(namespace).Get(ctx, name, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err) && told == nil:
			t.CustodyReason = fmt.Sprintf("there is no ConfigMap %s in namespace %s, and no target file says where keys are kept", name, namespace)
			return nil, nil
		case apierrors.IsNotFound(err):
			return nil, fmt.Errorf("the target file says that ConfigMap %s/%s names the custody, and there is none: mend custody.configMap", namespace, name)
		case err != nil:
			return nil, fmt.Errorf("reading ConfigMap %s/%s: %w", namespace, name, err)
		}
		maps.Copy(data, cm.Data)
	}
	if told == nil {
		return data, nil
	}
	for key, value := range map[string]string{"project": told.Project, "endpoint": told.Endpoint, "audience": told.Audience, "prefix": told.Prefix} {
		if value != "" {
			data[key] = value
		}
	}
	if told.CAFile != "" {
		pem, err := file.read("custody.caFile", told.CAFile)
		if err != nil {
			return nil, err
		}
		data["ca.crt"] = string(pem)
	}
	return data, nil
}

// place is the namespace and the name of the ConfigMap; both are empty if there is none.
func (c *FileCustody) place(own string) (namespace, name string) {
	namespace, name, found := strings.Cut(c.ConfigMap, "/")
	if !found {
		return own, c.ConfigMap
	}
	return namespace, name
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
