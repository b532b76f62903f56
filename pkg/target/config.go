package target

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Template is the pod template of the Vault StatefulSet.
func (t *Target) Template(ctx context.Context) (corev1.PodTemplateSpec, error) {
	set, err := t.Client.AppsV1().StatefulSets(t.Namespace).Get(ctx, t.StatefulSet, metav1.GetOptions{})
	if err != nil {
		return corev1.PodTemplateSpec{}, fmt.Errorf("reading StatefulSet %s/%s: %w", t.Namespace, t.StatefulSet, err)
	}
	return set.Spec.Template, nil
}

// Unclaimed names the volumes that are mounted and not in the spec of a template: a
// StatefulSet makes them from its claims.
func Unclaimed(spec corev1.PodSpec) []string {
	known, missing := map[string]bool{}, []string{}
	for _, v := range spec.Volumes {
		known[v.Name] = true
	}
	for _, c := range slices.Concat(spec.InitContainers, spec.Containers) {
		for _, m := range c.VolumeMounts {
			if !known[m.Name] {
				known[m.Name] = true
				missing = append(missing, m.Name)
			}
		}
	}
	return missing
}

// ConfigFiles returns the text of every file in the ConfigMaps that Vault's
// container mounts, by "ConfigMap/key".
func (t *Target) ConfigFiles(ctx context.Context) (map[string]string, error) {
	template, err := t.Template(ctx)
	if err != nil {
		return nil, err
	}
	return t.configFilesOf(ctx, template.Spec)
}

func (t *Target) configFilesOf(ctx context.Context, spec corev1.PodSpec) (map[string]string, error) {
	files := map[string]string{}
	for _, name := range mountedConfigMaps(spec, t.Container) {
		cm, err := t.Client.CoreV1().ConfigMaps(t.Namespace).Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			continue // an optional one
		}
		if err != nil {
			return nil, fmt.Errorf("reading ConfigMap %s/%s: %w", t.Namespace, name, err)
		}
		for key, text := range cm.Data {
			files[name+"/"+key] = text
		}
	}
	return files, nil
}

// mountedConfigMaps names the ConfigMaps that a container mounts.
func mountedConfigMaps(spec corev1.PodSpec, container string) []string {
	mounted := map[string]bool{}
	for _, c := range spec.Containers {
		if c.Name == container {
			for _, m := range c.VolumeMounts {
				mounted[m.Name] = true
			}
		}
	}
	var names []string
	for _, v := range spec.Volumes {
		if !mounted[v.Name] {
			continue
		}
		if v.ConfigMap != nil {
			names = append(names, v.ConfigMap.Name)
		}
		if v.Projected != nil {
			for _, s := range v.Projected.Sources {
				if s.ConfigMap != nil {
					names = append(names, s.ConfigMap.Name)
				}
			}
		}
	}
	return names
}
