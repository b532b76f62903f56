package target

import (
	"context"

	corev1 "k8s.io/api/core/v1"
)

// Versions are what the report says of the target.
type Versions struct {
	Kubernetes string
	Vault      string
	// Images maps "container image:tag" to the digest that the kubelet runs.
	Images map[string]string
}

// Versions collects the versions of what is being tested. A Vault that does not
// answer leaves its version empty.
func (t *Target) Versions(ctx context.Context) (Versions, error) {
	v := Versions{Kubernetes: t.Kubernetes.GitVersion, Images: map[string]string{}}
	states, err := t.State(ctx)
	if err != nil {
		return v, err
	}
	for _, s := range states {
		if v.Vault == "" {
			v.Vault = s.Version
		}
		addImages(v.Images, &s.Pod)
	}
	return v, nil
}

func addImages(images map[string]string, pod *corev1.Pod) {
	for _, statuses := range [][]corev1.ContainerStatus{pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses} {
		for _, c := range statuses {
			if c.ImageID != "" {
				images[c.Image] = c.ImageID
			}
		}
	}
}
