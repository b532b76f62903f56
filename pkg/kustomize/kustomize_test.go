package kustomize

import (
	"testing"
	"testing/fstest"
)

func TestBuild(t *testing.T) {
	tree := fstest.MapFS{
		"base/kustomization.yaml": {Data: []byte("resources: [account.yaml]\n")},
		"base/account.yaml":       {Data: []byte("apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: a}\n")},
	}
	plain, err := Build(tree, "base", nil)
	if err != nil || plain.Find("ServiceAccount", "a") == nil {
		t.Errorf("a folder of the tree becomes %v (%v)", plain, err)
	}
	topped, err := Build(tree, "top", []byte("resources: [../base]\nnamePrefix: my-\n"))
	if err != nil || topped.Find("ServiceAccount", "my-a") == nil {
		t.Errorf("with a top kustomization it becomes %v (%v)", topped, err)
	}
	for name, top := range map[string][]byte{"no kustomization": nil, "a resource that is not there": []byte("resources: [../nowhere]\n")} {
		if _, err := Build(tree, "top", top); err == nil {
			t.Errorf("%s is no error", name)
		}
	}
}
