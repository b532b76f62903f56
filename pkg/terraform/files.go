package terraform

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// What a workspace holds after an apply and a plan, as paths below Dir. A module without
// providers has no lock file.
const (
	StateFile = moduleDir + "/terraform.tfstate"
	PlanFile  = moduleDir + "/" + planFile
	LockFile  = moduleDir + "/.terraform.lock.hcl"
	LogFile   = logFile
	// ProvidersDir is what init puts providers into, and nothing else.
	ProvidersDir = moduleDir + "/.terraform/providers"
)

// Files are all that the workspace holds, as paths below Dir: state and its backup, plan,
// lock file, log, .terraform and what else the tool wrote. A provider that is only linked to
// from a mirror is none of them.
func (w *Workspace) Files() ([]string, error) {
	var files []string
	err := filepath.WalkDir(w.dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		below, err := filepath.Rel(w.dir, path)
		files = append(files, below)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listing the files of the workspace: %w", err)
	}
	return files, nil
}

// tighten takes from others what rights the tool gave them: it makes its files readable to
// all. Until then the directory keeps others out.
func (w *Workspace) tighten() error {
	err := filepath.WalkDir(w.dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.Type()&fs.ModeSymlink != 0 {
			return err
		}
		info, err := entry.Info()
		if err != nil || info.Mode().Perm()&0o077 == 0 {
			return err
		}
		return os.Chmod(path, info.Mode().Perm()&^0o077)
	})
	if err != nil {
		return fmt.Errorf("closing the workspace to others: %w", err)
	}
	return nil
}
