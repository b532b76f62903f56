package terraform

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"

	"github.com/hashicorp/terraform-exec/tfexec"
)

// What is in the directory of a workspace, beside what the tool makes.
const (
	moduleDir     = "module" // the tool runs here; its state is here
	homeDir       = "home"   // stands for the user's
	settingsFile  = "settings.tfrc"
	authorityFile = "vault-ca.crt"
	logFile       = "commands.log"
	pendingFile   = "pending" // there while an apply has not ended well
	variablesFile = "terraform.tfvars.json"
	planFile      = "last.tfplan" // in moduleDir
)

// Config says what is applied to what.
type Config struct {
	Tool  Tool
	Vault Vault
	// Module holds the .tf files of a root module, and of those below it.
	Module fs.FS
	// Variables are its input. None may be a secret: they are kept in a file.
	Variables map[string]any
	// Dir is where state, plan and log are kept, and found again. Empty means a temporary
	// directory, which Close removes.
	Dir string
}

// Workspace is a module with its state. One command runs at a time.
type Workspace struct {
	config    Config
	dir       string
	temporary bool

	mu    sync.Mutex
	ready bool // the tool has its providers
}

// Open lays a workspace out. Nothing runs yet.
func Open(config Config) (*Workspace, error) {
	if config.Vault.Token == nil || config.Vault.Address == "" && config.Vault.Dial == nil {
		return nil, errors.New("a workspace needs the address of a Vault, and a token for it")
	}
	w := &Workspace{config: config, dir: config.Dir, temporary: config.Dir == ""}
	var err error
	if w.temporary {
		w.dir, err = os.MkdirTemp("", "vaultproof-terraform-")
	} else if w.dir, err = filepath.Abs(config.Dir); err == nil {
		err = os.MkdirAll(w.dir, 0o700)
	}
	if err != nil {
		return nil, fmt.Errorf("making a directory for Terraform: %w", err)
	}
	if err := w.layOut(); err != nil {
		return nil, errors.Join(fmt.Errorf("preparing %s for Terraform: %w", w.dir, err), w.Close())
	}
	return w, nil
}

// layOut writes what the tool reads. State that is there already stays.
func (w *Workspace) layOut() error {
	for _, dir := range []string{w.dir, w.path(moduleDir), w.path(homeDir)} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
		// One that was there may be open to others.
		if err := os.Chmod(dir, 0o700); err != nil {
			return err
		}
	}
	variables, err := json.MarshalIndent(w.config.Variables, "", "  ")
	if err != nil {
		return fmt.Errorf("encoding the module's variables: %w", err)
	}
	content := map[string][]byte{
		w.path(settingsFile):             []byte(w.config.Tool.settings()),
		w.path(authorityFile):            w.config.Vault.CA,
		w.path(moduleDir, variablesFile): variables,
	}
	if err := w.sources(content); err != nil {
		return err
	}
	for name, text := range content {
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(name, text, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// sources adds the module's own files, and those of modules below it.
func (w *Workspace) sources(content map[string][]byte) error {
	found := false
	err := fs.WalkDir(w.config.Module, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || path.Ext(name) != ".tf" {
			return err
		}
		found = true
		content[w.path(moduleDir, filepath.FromSlash(name))], err = fs.ReadFile(w.config.Module, name)
		return err
	})
	if err == nil && !found {
		err = errors.New("the module has no .tf file")
	}
	return err
}

// Another opens a temporary workspace for another module, with the same tool and Vault.
func (w *Workspace) Another(module fs.FS, variables map[string]any) (*Workspace, error) {
	return Open(Config{Tool: w.config.Tool, Vault: w.config.Vault, Module: module, Variables: variables})
}

// Dir is the directory of the workspace.
func (w *Workspace) Dir() string { return w.dir }

// Close removes the workspace if it is temporary, with its state: what was applied should
// have been destroyed.
func (w *Workspace) Close() error {
	if !w.temporary {
		return nil
	}
	if err := os.RemoveAll(w.dir); err != nil {
		return fmt.Errorf("removing the workspace: %w", err)
	}
	return nil
}

func (w *Workspace) path(parts ...string) string {
	return filepath.Join(append([]string{w.dir}, parts...)...)
}

// command is the tool, ready to run in a workspace.
type command struct {
	*tfexec.Terraform
	log io.Writer
}

// run calls f with the tool, which has a token and a way to Vault for as long as f runs.
func (w *Workspace) run(ctx context.Context, what string, f func(command) error) (err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	token, err := w.config.Vault.Token(ctx)
	if err != nil {
		return fmt.Errorf("%s: getting a token for Terraform: %w", what, err)
	}
	defer clear(token)
	address := w.config.Vault.Address
	if w.config.Vault.Dial != nil {
		way, err := listen(ctx, w.config.Vault.Dial)
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		defer way.stop()
		address = way.url()
	}
	log, err := os.OpenFile(w.path(logFile), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("%s: opening the log of Terraform: %w", what, err)
	}
	defer func() { err = errors.Join(err, log.Close(), w.tighten()) }()
	if _, err := fmt.Fprintf(log, "== %s\n", what); err != nil {
		return fmt.Errorf("%s: writing the log of Terraform: %w", what, err)
	}
	tf, err := tfexec.NewTerraform(w.path(moduleDir), w.config.Tool.Binary)
	if err != nil {
		return fmt.Errorf("%s: preparing %s: %w", what, w.config.Tool.Binary, err)
	}
	tf.SetStdout(log)
	tf.SetStderr(log)
	if err := tf.SetEnv(w.environment(address, string(token))); err != nil {
		return fmt.Errorf("%s: preparing the environment of Terraform: %w", what, err)
	}
	if err := w.initialise(ctx, tf); err != nil {
		return failure(what+": getting the providers", err, token)
	}
	return failure(what, f(command{Terraform: tf, log: log}), token)
}

// initialise gets the providers, once.
func (w *Workspace) initialise(ctx context.Context, tf *tfexec.Terraform) error {
	if w.ready {
		return nil
	}
	err := tf.Init(ctx)
	w.ready = err == nil
	return err
}

// failure says what failed. A tool that writes its token into an error does not get it past
// here.
func failure(what string, err error, token []byte) error {
	switch {
	case err == nil:
		return nil
	case len(token) > 0 && bytes.Contains([]byte(err.Error()), token):
		return fmt.Errorf("%s: %s", what, strings.ReplaceAll(err.Error(), string(token), "[redacted]"))
	}
	return fmt.Errorf("%s: %w", what, err)
}
