// Package kube puts manifests into a cluster and takes them out again: server-side
// apply in the order that dependencies want, and removal of nothing but our own.
package kube

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

const (
	// FieldManager owns every field that is applied.
	FieldManager = "vaultproof"
	// ManagedByLabel and ManagedBy mark what belongs to us. Only that is ever
	// changed or deleted.
	ManagedByLabel = "app.kubernetes.io/managed-by"
	ManagedBy      = "vaultproof"
)

// Objects are Kubernetes objects of any kind.
type Objects []*unstructured.Unstructured

// Decode reads a stream of YAML or JSON documents. Empty ones are left out; a
// duplicate key, or an object without kind or name, is an error that names its place.
func Decode(stream []byte) (Objects, error) {
	reader := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(stream)))
	var objects Objects
	for n := 1; ; n++ {
		doc, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		if err != nil {
			return nil, fmt.Errorf("reading document %d: %w", n, err)
		}
		encoded, err := yaml.YAMLToJSONStrict(doc)
		if err != nil {
			return nil, fmt.Errorf("reading document %d: %w", n, err)
		}
		if string(encoded) == "null" {
			continue
		}
		object := &unstructured.Unstructured{}
		if err := object.UnmarshalJSON(encoded); err != nil {
			return nil, fmt.Errorf("reading document %d: %w", n, err)
		}
		if object.GetName() == "" {
			return nil, fmt.Errorf("document %d, a %s, has no name", n, object.GetKind())
		}
		objects = append(objects, object)
	}
}

// Find returns the object of that kind and name, or nil.
func (o Objects) Find(kind, name string) *unstructured.Unstructured {
	for _, object := range o {
		if object.GetKind() == kind && object.GetName() == name {
			return object
		}
	}
	return nil
}

// Manage puts our label on every object, and on the pods that they make.
func (o Objects) Manage() {
	for _, object := range o {
		labels := object.GetLabels()
		if labels == nil {
			labels = map[string]string{}
		}
		labels[ManagedByLabel] = ManagedBy
		object.SetLabels(labels)
		template := []string{"spec", "template", "metadata", "labels"}
		if podLabels, found, err := unstructured.NestedStringMap(object.Object, template...); err == nil && found {
			podLabels[ManagedByLabel] = ManagedBy
			_ = unstructured.SetNestedStringMap(object.Object, podLabels, template...)
		}
	}
}

// Managed says whether the object is ours.
func Managed(object *unstructured.Unstructured) bool {
	return object.GetLabels()[ManagedByLabel] == ManagedBy
}

// String names an object for a person: "StatefulSet vault/vault".
func String(object *unstructured.Unstructured) string {
	if object.GetNamespace() == "" {
		return object.GetKind() + " " + object.GetName()
	}
	return object.GetKind() + " " + object.GetNamespace() + "/" + object.GetName()
}

// rank is the order of creation. Definitions come before what uses them; webhooks come
// last, because they would refuse objects while nobody serves them.
var rank = map[string]int{
	"Namespace":                      0,
	"CustomResourceDefinition":       1,
	"PriorityClass":                  2,
	"StorageClass":                   2,
	"NetworkPolicy":                  3,
	"ServiceAccount":                 4,
	"ClusterRole":                    4,
	"Role":                           4,
	"ClusterRoleBinding":             5,
	"RoleBinding":                    5,
	"ConfigMap":                      6,
	"Secret":                         6,
	"PersistentVolumeClaim":          6,
	"Service":                        7,
	"PodDisruptionBudget":            7,
	"MutatingWebhookConfiguration":   20,
	"ValidatingWebhookConfiguration": 20,
}

// workload is the rank of everything that the table does not name.
const workload = 10

func rankOf(object *unstructured.Unstructured) int {
	if r, ok := rank[object.GetKind()]; ok {
		return r
	}
	return workload
}

// Sorted returns the objects in the order of creation; within a rank, as given.
func (o Objects) Sorted() Objects {
	sorted := slices.Clone(o)
	slices.SortStableFunc(sorted, func(a, b *unstructured.Unstructured) int {
		return cmp.Compare(rankOf(a), rankOf(b))
	})
	return sorted
}

// YAML writes the objects as one stream.
func (o Objects) YAML() ([]byte, error) {
	var out bytes.Buffer
	for _, object := range o {
		doc, err := yaml.Marshal(object.Object)
		if err != nil {
			return nil, fmt.Errorf("writing %s: %w", String(object), err)
		}
		out.WriteString("---\n")
		out.Write(doc)
	}
	return out.Bytes(), nil
}
