package restore

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/vaultproof/vaultproof/bootstrap/kube"
)

// restarter gives what restarts another pod: nil without the Kubernetes API.
func (c config) restarter(env func(string) (string, bool), log *slog.Logger) func(context.Context, string) error {
	client, err := kube.New(kube.FromEnv(c.kubeToken, env))
	if err != nil {
		log.Warn("no use of the Kubernetes API: a pod that asks to join too early may take some minutes to", "reason", err.Error())
		return nil
	}
	return func(ctx context.Context, name string) error {
		pod, err := client.Pod(ctx, name)
		if err != nil {
			return fmt.Errorf("reading pod %s: %w", name, err)
		}
		if err := client.Delete(ctx, pod); err != nil {
			return fmt.Errorf("deleting pod %s: %w", name, err)
		}
		return nil
	}
}

// early names the peers that asked this Vault to join before it had its data
// back. Such a peer holds a challenge that no share answers. It was empty, so it
// says that it is initialised for no other reason; and it says nothing while it
// tries to answer with the shares in custody.
func (r *restore) early(ctx context.Context) (pods []string) {
	for _, pod := range r.answered {
		if st, err := r.peers[pod].SealStatus(ctx); err != nil || st.Initialised {
			pods = append(pods, pod)
		}
	}
	return pods
}

// rejoin restarts the pods of the peers that were early. They have no data.
func (r *restore) rejoin(ctx context.Context, pods []string) {
	for _, pod := range pods {
		if r.restart == nil {
			r.log.Warn("a pod asked to join too early and may take some minutes to ask again; deleting it is quicker", "pod", pod)
			continue
		}
		if err := r.restart(ctx, pod); err != nil {
			r.log.Warn("a pod asked to join too early and could not be restarted; it may take some minutes to ask again", "pod", pod, "error", err.Error())
			continue
		}
		r.log.Info("pod restarted, because it asked to join too early; it is empty and joins when it is up", "pod", pod)
	}
}
