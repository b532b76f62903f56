// Package deploytest renders the manifests as their users would, for tests of what they say.
package deploytest

import (
	"io/fs"
	"path"
	"testing"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

// Object is one that kustomize made, in its own type.
type Object struct {
	Kind, Namespace, Name string
	runtime.Object
}

// Render runs kustomize over a folder of an embedded tree. Every object is decoded strictly,
// so that a field that does not exist is an error, and has to bear our label.
func Render(t testing.TB, tree fs.FS, folder string) []Object {
	t.Helper()
	memory := filesys.MakeFsInMemory()
	err := fs.WalkDir(tree, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := fs.ReadFile(tree, name)
		if err != nil {
			return err
		}
		return memory.WriteFile(path.Join("/", name), content)
	})
	if err != nil {
		t.Fatal(err)
	}
	resources, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(memory, path.Join("/", folder))
	if err != nil {
		t.Fatalf("rendering %s: %v", folder, err)
	}
	var all []Object
	for _, r := range resources.Resources() {
		content, err := r.Map()
		if err != nil {
			t.Fatal(err)
		}
		into, err := scheme.Scheme.New(schema.GroupVersionKind{Group: r.GetGvk().Group, Version: r.GetGvk().Version, Kind: r.GetKind()})
		if err == nil {
			err = runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(content, into, true)
		}
		if err != nil {
			t.Errorf("%s: %s %s: %v", folder, r.GetKind(), r.GetName(), err)
		}
		if r.GetLabels()["app.kubernetes.io/managed-by"] != "vaultproof" {
			t.Errorf("%s: %s %s could not be removed again: it does not bear our label", folder, r.GetKind(), r.GetName())
		}
		all = append(all, Object{Kind: r.GetKind(), Namespace: r.GetNamespace(), Name: r.GetName(), Object: into})
	}
	return all
}
