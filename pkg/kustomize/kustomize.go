// Package kustomize builds Kubernetes objects from manifests that are embedded in the program.
package kustomize

import (
	"fmt"
	"io/fs"
	"path"

	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"

	"github.com/vaultproof/vaultproof/pkg/kube"
)

// Build runs kustomize over a folder of an in-memory copy of tree. A top kustomization that is
// not nil is written into the folder first, for what only the caller knows; it reaches the
// rest of tree by relative paths.
func Build(tree fs.FS, folder string, top []byte) (kube.Objects, error) {
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
		return nil, fmt.Errorf("copying the embedded manifests: %w", err)
	}
	if top != nil {
		if err := memory.WriteFile(path.Join("/", folder, "kustomization.yaml"), top); err != nil {
			return nil, fmt.Errorf("writing the top kustomization: %w", err)
		}
	}
	resources, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(memory, path.Join("/", folder))
	if err != nil {
		return nil, fmt.Errorf("running kustomize: %w", err)
	}
	stream, err := resources.AsYaml()
	if err != nil {
		return nil, fmt.Errorf("writing what kustomize made: %w", err)
	}
	return kube.Decode(stream)
}
