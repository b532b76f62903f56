package places

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/kubernetes"
)

// logs are those of all containers of all pods, of their present and their
// previous life, init containers included.
func logs(client kubernetes.Interface) Source {
	return Source{Name: "container logs", Each: func(ctx context.Context, visit Visit) error {
		all, err := pods(ctx, client)
		if err != nil {
			return err
		}
		var errs []error
		for i := range all {
			for _, c := range statuses(&all[i]) {
				if err := eachLog(ctx, client, &all[i], c, visit); err != nil {
					errs = append(errs, err)
				}
				if ctx.Err() != nil {
					return ctx.Err()
				}
			}
		}
		return errors.Join(errs...)
	}}
}

func eachLog(ctx context.Context, client kubernetes.Interface, pod *corev1.Pod, c corev1.ContainerStatus, visit Visit) error {
	for _, previous := range []bool{false, true} {
		item := fmt.Sprintf("the log of %s/%s/%s", pod.Namespace, pod.Name, c.Name)
		if previous {
			item = "the previous log of" + item[len("the log of"):]
		}
		// Before its first start a container has no log, and before its second one no
		// previous one.
		if previous && c.RestartCount == 0 || !previous && c.RestartCount == 0 && c.ContainerID == "" {
			continue
		}
		stream, err := client.CoreV1().Pods(pod.Namespace).GetLogs(pod.Name, &corev1.PodLogOptions{Container: c.Name, Previous: previous}).Stream(ctx)
		// The pod went away meanwhile; or the kubelet has removed the previous container,
		// with its log, as it does when a node was off.
		if apierrors.IsNotFound(err) || previous && apierrors.IsBadRequest(err) {
			continue
		}
		if err != nil {
			return fmt.Errorf("opening %s: %w", item, err)
		}
		err = visit(item, stream)
		_ = stream.Close() // what was read was read
		if err != nil {
			return err
		}
	}
	return nil
}
