package kube

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic/fake"
	clienttesting "k8s.io/client-go/testing"
	"sigs.k8s.io/yaml"
)

const manifests = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  template:
    metadata:
      labels: {app: web}
---
# nothing here
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: hooks}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, namespace: shop}
data: {a: "1"}
---
apiVersion: v1
kind: Namespace
metadata: {name: shop}
`

func decode(t *testing.T, stream string) Objects {
	t.Helper()
	objects, err := Decode([]byte(stream))
	if err != nil {
		t.Fatal(err)
	}
	return objects
}

func names(objects Objects) []string {
	var out []string
	for _, object := range objects {
		out = append(out, String(object))
	}
	return out
}

func TestDecodeAndOrder(t *testing.T) {
	got := names(decode(t, manifests).Sorted())
	want := []string{"Namespace shop", "ConfigMap shop/settings", "Deployment shop/web", "ValidatingWebhookConfiguration hooks"}
	if !slices.Equal(got, want) {
		t.Errorf("order %v, want %v", got, want)
	}
}

func TestDecodeRefuses(t *testing.T) {
	for name, stream := range map[string]string{
		"not YAML":      "a: [",
		"duplicate key": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {x: '1'}\ndata: {x: '2'}",
		"no kind":       "apiVersion: v1\nmetadata: {name: a}",
		"no name":       "apiVersion: v1\nkind: ConfigMap",
		"a list":        "- a\n- b",
	} {
		if _, err := Decode([]byte(stream)); err == nil || !strings.Contains(err.Error(), "document 1") {
			t.Errorf("%s: got %v, want an error that names the document", name, err)
		}
	}
}

func TestManage(t *testing.T) {
	objects := decode(t, manifests)
	objects.Manage()
	for _, object := range objects {
		if !Managed(object) {
			t.Errorf("%s has no label", String(object))
		}
	}
	labels, _, _ := unstructured.NestedStringMap(objects.Find("Deployment", "web").Object, "spec", "template", "metadata", "labels")
	if labels[ManagedByLabel] != ManagedBy || labels["app"] != "web" {
		t.Errorf("pod labels are %v", labels)
	}
}

type staticMapper struct{ meta.RESTMapper }

func (staticMapper) Reset() {}

// cluster is a client of a fake API server that holds objects, and what was written to it.
func cluster(objects ...*unstructured.Unstructured) (*Client, *[]string) {
	mapper := meta.NewDefaultRESTMapper(nil)
	for gvk, scope := range map[schema.GroupVersionKind]meta.RESTScope{
		{Version: "v1", Kind: "Namespace"}:                                                             meta.RESTScopeRoot,
		{Version: "v1", Kind: "ConfigMap"}:                                                             meta.RESTScopeNamespace,
		{Group: "apps", Version: "v1", Kind: "Deployment"}:                                             meta.RESTScopeNamespace,
		{Group: "admissionregistration.k8s.io", Version: "v1", Kind: "ValidatingWebhookConfiguration"}: meta.RESTScopeRoot,
		{Group: "apiextensions.k8s.io", Version: "v1", Kind: "CustomResourceDefinition"}:               meta.RESTScopeRoot,
	} {
		mapper.Add(gvk, scope)
	}
	var live []runtime.Object
	for _, object := range objects {
		live = append(live, object.DeepCopy())
	}
	dyn := fake.NewSimpleDynamicClient(runtime.NewScheme(), live...)
	var writes []string
	dyn.PrependReactor("patch", "*", func(action clienttesting.Action) (bool, runtime.Object, error) {
		patch := action.(clienttesting.PatchAction)
		writes = append(writes, "apply "+patch.GetName())
		return true, &unstructured.Unstructured{Object: map[string]any{}}, nil
	})
	dyn.PrependReactor("delete", "*", func(action clienttesting.Action) (bool, runtime.Object, error) {
		writes = append(writes, "delete "+action.(clienttesting.DeleteAction).GetName())
		return false, nil, nil
	})
	return &Client{dynamic: dyn, mapper: staticMapper{mapper}, poll: time.Millisecond}, &writes
}

func TestApplyInOrder(t *testing.T) {
	client, writes := cluster()
	if err := client.Apply(t.Context(), decode(t, manifests)); err != nil {
		t.Fatal(err)
	}
	if want := []string{"apply shop", "apply settings", "apply web", "apply hooks"}; !slices.Equal(*writes, want) {
		t.Errorf("wrote %v, want %v", *writes, want)
	}
}

func TestApplyNeverTakesOver(t *testing.T) {
	objects := decode(t, manifests)
	client, writes := cluster(objects.Find("ConfigMap", "settings"))
	err := client.Apply(t.Context(), objects)
	if !errors.Is(err, ErrForeign) || !strings.Contains(err.Error(), "ConfigMap shop/settings") {
		t.Errorf("got %v, want that the ConfigMap is not ours", err)
	}
	if slices.Contains(*writes, "apply settings") {
		t.Error("somebody else's ConfigMap was written")
	}
}

func TestDeleteLeavesOthersAlone(t *testing.T) {
	objects := decode(t, manifests)
	foreign := objects.Find("ConfigMap", "settings").DeepCopy()
	objects.Manage()
	client, writes := cluster(objects.Find("Namespace", "shop"), objects.Find("Deployment", "web"), foreign)
	if err := client.Delete(t.Context(), objects); err != nil {
		t.Fatal(err)
	}
	if want := []string{"delete web", "delete shop"}; !slices.Equal(*writes, want) {
		t.Errorf("wrote %v, want %v", *writes, want)
	}
}

func TestDefinitionsAreWaitedFor(t *testing.T) {
	definition := decode(t, `{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: things.example.org}}`)
	definition.Manage()
	client, _ := cluster(definition...)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err := client.Apply(ctx, definition)
	if err == nil || !strings.Contains(err.Error(), "things.example.org (not established)") {
		t.Errorf("got %v, want that the definition is not established", err)
	}

	ready := definition[0].DeepCopy()
	_ = unstructured.SetNestedSlice(ready.Object, []any{map[string]any{"type": "Established", "status": "True"}}, "status", "conditions")
	client, _ = cluster(ready)
	if err := client.Apply(t.Context(), definition); err != nil {
		t.Error(err)
	}

	// The same definition again is not written, a changed one is.
	ready.SetAnnotations(definition[0].GetAnnotations())
	client, writes := cluster(ready)
	if err := client.Apply(t.Context(), definition); err != nil || len(*writes) != 0 {
		t.Errorf("wrote %v (%v), want nothing", *writes, err)
	}
	_ = unstructured.SetNestedField(definition[0].Object, "example.org", "spec", "group")
	if err := client.Apply(t.Context(), definition); err != nil || len(*writes) != 1 {
		t.Errorf("wrote %v (%v), want the change", *writes, err)
	}
}

func TestRollout(t *testing.T) {
	for name, c := range map[string]struct {
		object string
		done   bool
	}{
		"stateful set ready":    {`{kind: StatefulSet, spec: {replicas: 3}, status: {readyReplicas: 3, updatedReplicas: 3, currentRevision: a, updateRevision: a}}`, true},
		"one pod missing":       {`{kind: StatefulSet, spec: {replicas: 3}, status: {readyReplicas: 2, updatedReplicas: 3, currentRevision: a, updateRevision: a}}`, false},
		"old revision":          {`{kind: StatefulSet, spec: {replicas: 3}, status: {readyReplicas: 3, updatedReplicas: 3, currentRevision: a, updateRevision: b}}`, false},
		"not observed":          {`{kind: StatefulSet, metadata: {generation: 2}, spec: {replicas: 1}, status: {observedGeneration: 1, readyReplicas: 1, updatedReplicas: 1}}`, false},
		"deployment ready":      {`{kind: Deployment, status: {replicas: 1, availableReplicas: 1, updatedReplicas: 1}}`, true},
		"deployment surging":    {`{kind: Deployment, status: {replicas: 2, availableReplicas: 1, updatedReplicas: 1}}`, false},
		"daemon set ready":      {`{kind: DaemonSet, status: {desiredNumberScheduled: 4, updatedNumberScheduled: 4, numberAvailable: 4}}`, true},
		"daemon set on no node": {`{kind: DaemonSet, status: {desiredNumberScheduled: 0}}`, false},
		"unknown kind":          {`{kind: Job}`, false},
	} {
		object := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(c.object), &object.Object); err != nil {
			t.Fatal(err)
		}
		if done, state := Rollout(object); done != c.done || state == "" {
			t.Errorf("%s: done %v (%s), want %v", name, done, state, c.done)
		}
	}
}
