package stack

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/hashicorp/vault/api"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/vaultproof/vaultproof/pkg/custody"
	"github.com/vaultproof/vaultproof/pkg/target"
)

const raftConfiguration = "sys/storage/raft/configuration"

// voterCount asks the active pod for raft's configuration. A pod that joined votes
// only after autopilot's stabilisation time (10 s), and an active pod that dies before
// that takes the quorum with it: unsealed pods alone are not enough.
//
// The provisioner token is used, and where its policy does not allow this, the root
// token, as long as custody has it.
func voterCount(config *rest.Config, client kubernetes.Interface, opts Options) func(context.Context, string) (int, error) {
	return func(ctx context.Context, pod string) (int, error) {
		ca, err := client.CoreV1().ConfigMaps(opts.Namespace).Get(ctx, caConfigMap, metav1.GetOptions{})
		if err != nil {
			return 0, fmt.Errorf("reading ConfigMap %s/%s: %w", opts.Namespace, caConfigMap, err)
		}
		vault := &target.Target{
			Config:     config,
			Client:     client,
			Namespace:  opts.Namespace,
			CA:         []byte(ca.Data["ca.crt"]),
			ServerName: activeService + "." + opts.Namespace + ".svc",
		}
		at, done, err := vault.Pod(ctx, pod)
		if err != nil {
			return 0, err
		}
		defer done()
		return countWith(ctx, at, opts.Store, opts.Custody.Prefix)
	}
}

func countWith(ctx context.Context, vault *api.Client, store custody.Store, prefix string) (int, error) {
	var problems []error
	for _, id := range []string{prefix + "-provisioner-token", prefix + "-root-token"} {
		secret, err := store.Read(ctx, id)
		if err != nil {
			problems = append(problems, fmt.Errorf("reading %s from custody: %w", id, err))
			continue
		}
		vault.SetToken(string(secret.Payload))
		answer, err := vault.Logical().ReadWithContext(ctx, raftConfiguration)
		vault.ClearToken()
		if denied := (*api.ResponseError)(nil); errors.As(err, &denied) && denied.StatusCode == http.StatusForbidden {
			problems = append(problems, fmt.Errorf("the token in %s may not read %s", id, raftConfiguration))
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("reading %s: %w", raftConfiguration, err)
		}
		if answer == nil {
			return 0, fmt.Errorf("reading %s: the answer is empty", raftConfiguration)
		}
		return countVoters(answer.Data)
	}
	return 0, errors.Join(problems...)
}

func countVoters(data map[string]any) (int, error) {
	config, _ := data["config"].(map[string]any)
	servers, ok := config["servers"].([]any)
	if !ok {
		return 0, errors.New("raft's configuration names no servers")
	}
	voters := 0
	for _, server := range servers {
		if s, ok := server.(map[string]any); ok && s["voter"] == true {
			voters++
		}
	}
	return voters, nil
}
