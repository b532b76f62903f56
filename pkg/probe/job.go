package probe

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/vaultproof/vaultproof/pkg/kube"
)

// A fleet whose suite died ends by itself, and its Job is removed some time after.
const (
	jobLife    = 4 * time.Hour
	jobRemains = time.Minute
)

// run makes the Job and waits until a pod of each index runs; it returns their names
// by index. On error the Job is deleted.
func (f *Fleet) run(ctx context.Context, size int) ([]string, error) {
	if err := kube.EnsureNamespace(ctx, f.client, f.opts.Namespace); err != nil {
		return nil, err
	}
	job, err := f.client.BatchV1().Jobs(f.opts.Namespace).Create(ctx, jobManifest(f.opts, size), metav1.CreateOptions{})
	if err != nil {
		return nil, fmt.Errorf("creating the Job of %d probers in %s: %w", size, f.opts.Namespace, err)
	}
	f.job = job.Name
	pods, err := f.awaitPods(ctx, size)
	if err != nil {
		return nil, errors.Join(err, f.remove(context.WithoutCancel(ctx)))
	}
	return pods, nil
}

// jobManifest is an indexed Job of probers, each as it runs alone.
func jobManifest(opts Options, size int) *batchv1.Job {
	pod := podManifest(opts, maps.Clone(opts.NodeSelector))
	count, none := int32(size), int32(0)
	life, remains := int64(jobLife/time.Second), int32(jobRemains/time.Second)
	indexed := batchv1.IndexedCompletion
	// A node may take as many as it has room for, if others have none.
	pod.Spec.TopologySpreadConstraints = []corev1.TopologySpreadConstraint{{
		MaxSkew: 1, TopologyKey: corev1.LabelHostname, WhenUnsatisfiable: corev1.ScheduleAnyway,
		LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{labelName: "prober", labelRun: opts.RunID}},
	}}
	return &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "probers-", Namespace: opts.Namespace, Labels: maps.Clone(pod.Labels)},
		Spec: batchv1.JobSpec{
			Parallelism: &count, Completions: &count, CompletionMode: &indexed,
			// One that ends has lost what it saw: it is not run again, and the others
			// go on.
			BackoffLimitPerIndex: &none, MaxFailedIndexes: &count,
			ActiveDeadlineSeconds: &life, TTLSecondsAfterFinished: &remains,
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: pod.Labels}, Spec: pod.Spec},
		},
	}
}

// awaitPods waits until there is a running pod of each index.
func (f *Fleet) awaitPods(ctx context.Context, size int) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, podPatience)
	defer cancel()
	pods := make([]string, size)
	missing := size
	err := wait.PollUntilContextCancel(ctx, 250*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		list, err := f.client.CoreV1().Pods(f.opts.Namespace).List(ctx, metav1.ListOptions{LabelSelector: batchv1.JobNameLabel + "=" + f.job})
		if err != nil {
			return false, nil // the API server may be busy; ctx bounds the wait
		}
		for _, pod := range list.Items {
			index, err := strconv.Atoi(pod.Annotations[batchv1.JobCompletionIndexAnnotation])
			if err == nil && index < size && pods[index] == "" {
				pods[index] = pod.Name
				missing--
			}
		}
		return missing == 0, nil
	})
	if err != nil {
		return nil, fmt.Errorf("waiting for the probers of Job %s/%s: %d of %d have no pod: %w", f.opts.Namespace, f.job, missing, size, err)
	}
	for _, name := range pods {
		if err := awaitRunning(ctx, f.client, f.opts.Namespace, name); err != nil {
			return nil, err
		}
	}
	return pods, nil
}

// remove deletes the Job with its pods.
func (f *Fleet) remove(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), deletePatience)
	defer cancel()
	background := metav1.DeletePropagationBackground
	err := f.client.BatchV1().Jobs(f.opts.Namespace).Delete(ctx, f.job, metav1.DeleteOptions{PropagationPolicy: &background})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("deleting the Job of the probers %s/%s: %w", f.opts.Namespace, f.job, err)
	}
	return nil
}
