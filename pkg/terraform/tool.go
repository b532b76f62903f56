package terraform

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// names of the programs that are looked for, in the order of preference.
var names = []string{"terraform", "tofu"}

// ErrNoTool means that neither Terraform nor OpenTofu is on this machine.
var ErrNoTool = errors.New("neither terraform nor tofu is in PATH: install one of them, or name it with -terraform")

// Tool is Terraform or OpenTofu, and where its providers come from.
type Tool struct {
	// Binary is the path of the program.
	Binary string
	// Mirror is a directory that holds the providers in the layout of a filesystem mirror.
	// Empty means the tool's public registry.
	Mirror string
}

// Find looks for a tool. An empty binary means terraform or tofu, whichever is in PATH.
// Paths are made absolute, because commands run in another directory.
func Find(binary, mirror string) (Tool, error) {
	tool := Tool{Mirror: mirror}
	var err error
	if tool.Binary, err = locate(binary); err != nil {
		return Tool{}, err
	}
	if mirror == "" {
		return tool, nil
	}
	if tool.Mirror, err = filepath.Abs(mirror); err != nil {
		return Tool{}, fmt.Errorf("the provider mirror %s has no absolute path: %w", mirror, err)
	}
	if found, err := os.Stat(tool.Mirror); err != nil || !found.IsDir() {
		return Tool{}, fmt.Errorf("the provider mirror %s is no directory: check the path given with -terraform-mirror", tool.Mirror)
	}
	return tool, nil
}

func locate(binary string) (string, error) {
	if binary == "" {
		for _, name := range names {
			if path, err := exec.LookPath(name); err == nil {
				return filepath.Abs(path)
			}
		}
		return "", ErrNoTool
	}
	path, err := exec.LookPath(binary)
	if err != nil {
		return "", fmt.Errorf("%s cannot be run (%w): check the path given with -terraform", binary, err)
	}
	return filepath.Abs(path)
}

// settings is the tool's own configuration file. With a mirror no registry is ever asked.
func (t Tool) settings() string {
	text := "disable_checkpoint = true\n"
	if t.Mirror != "" {
		text += fmt.Sprintf("provider_installation {\n  filesystem_mirror {\n    path = %q\n  }\n}\n", t.Mirror)
	}
	return text
}
