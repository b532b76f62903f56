package tenancy

import (
	"context"
	"crypto/rand"
	"embed"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/onsi/ginkgo/v2"

	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/leak"
	"github.com/vaultproof/vaultproof/pkg/tenancy"
	"github.com/vaultproof/vaultproof/pkg/terraform"
)

//go:embed ten_05_leaky.tf
var leaky embed.FS

var ten05 = conformance.Check{
	ID: "TEN-05", Area: area, Level: conformance.Must, Manner: conformance.Beside,
	Assertion: "what Terraform leaves behind (state, its backup, plan, .terraform, lock file, log) holds no token of Vault, no share and no token of a service account",
	Source:    "hashicorp/terraform-provider-vault#2742 and #2715 (the reviewer's token in the state); HashiCorp Terraform, sensitive data in state",
	Observe: "every file of both tenants' workspaces after a plan, searched in all encodings and inside archives for every secret in custody, and for whatever looks like a token or a private key; " +
		"the same search has to find what a module that leaks on purpose has written",
	Timeout: 8 * time.Minute,
}

var _ = conformance.It(ten05, conformance.Conformance, func(ctx ginkgo.SpecContext, r *conformance.Case) error {
	env, err := tenants(ctx, r)
	if err != nil {
		return err
	}
	needles, err := r.Target.Needles(ctx)
	if err != nil {
		return r.CannotTell(err)
	}
	canaries := newCanaries()
	search, err := canaries.search(needles)
	if err != nil {
		return r.CannotTell(err)
	}
	if err := canaries.control(ctx, env.Terraform(env.A), search); err != nil {
		return r.CannotTell(err)
	}
	var faults []error
	for _, t := range env.both() {
		w := env.Terraform(t)
		if _, err := w.Plan(ctx); err != nil {
			return r.CannotTell(fmt.Errorf("tenant %s: %w", t.Name, err))
		}
		seen, err := search.workspace(w)
		if err == nil {
			err = seen.whole(terraform.StateFile, terraform.PlanFile, terraform.LockFile, terraform.LogFile)
		}
		if err != nil {
			return r.CannotTell(fmt.Errorf("tenant %s: %w", t.Name, err))
		}
		r.Measure("searched_"+t.Name+"_bytes", float64(seen.bytes))
		faults = append(faults, seen.clean(t))
	}
	return errors.Join(faults...)
})

// canaries are made-up secrets, by what they look like.
type canaries map[string]string

func newCanaries() canaries {
	random := func(n int) string {
		b := make([]byte, n)
		_, _ = rand.Read(b) // never fails
		return base64.RawURLEncoding.EncodeToString(b)
	}
	claims := base64.RawURLEncoding.EncodeToString([]byte(`{"iss":"vaultproof","sub":"nobody"}`))
	return canaries{
		"a token of Vault":   "hvs." + random(24),
		"a JSON web token":   base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + claims + "." + random(32),
		"a share in custody": random(33),
	}
}

// search prepares to look for the needles, for the canaries, and for their like.
func (c canaries) search(needles []leak.Needle) (*search, error) {
	for name, value := range c {
		needles = append(needles, leak.Needle{Name: "canary: " + name, Value: []byte(value)})
	}
	scanner, err := leak.New(needles...)
	if err != nil {
		return nil, fmt.Errorf("preparing to look for secrets: %w", err)
	}
	if err := scanner.SelfTest(); err != nil {
		return nil, fmt.Errorf("the scanner failed its positive control: %w", err)
	}
	return &search{scanner}, nil
}

// control has Terraform leak the canaries, with the tool of a tenant's workspace, and finds
// them in every kind of file.
func (c canaries) control(ctx context.Context, like *terraform.Workspace, s *search) (err error) {
	w, err := like.Another(leaky, map[string]any{"canaries": c})
	if err != nil {
		return fmt.Errorf("the module that leaks on purpose: %w", err)
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	if err := w.Apply(ctx); err != nil {
		return fmt.Errorf("the module that leaks on purpose: %w", err)
	}
	if _, err := w.Plan(ctx); err != nil {
		return fmt.Errorf("the module that leaks on purpose: %w", err)
	}
	seen, err := s.workspace(w)
	if err != nil {
		return fmt.Errorf("the module that leaks on purpose: %w", err)
	}
	return c.found(seen)
}

// found fails if a canary was not seen where it must be, by either way of searching.
func (c canaries) found(seen litter) error {
	for _, file := range []string{terraform.StateFile, terraform.PlanFile, terraform.LogFile} {
		for name := range c {
			if !slices.Contains(seen.secrets[file], "canary: "+name) {
				return fmt.Errorf("the search missed %s that a module has written to %s on purpose, so its silence means nothing", name, file)
			}
		}
		for like := range shapes {
			if c[like] != "" && !slices.Contains(seen.secrets[file], "what looks like "+like) {
				return fmt.Errorf("the search did not recognise %s that a module has written to %s on purpose, so its silence means nothing", like, file)
			}
		}
	}
	return nil
}

// litter is what was searched, and what was found in it.
type litter struct {
	files   []string
	bytes   int64
	secrets map[string][]string // by file
	unread  []string            // parts that could not be searched
}

// whole fails unless the files that must be there were searched, and all of them.
func (l litter) whole(wanted ...string) error {
	for _, file := range wanted {
		if !slices.Contains(l.files, file) {
			return fmt.Errorf("Terraform left no %s, which is to be searched", file)
		}
	}
	if len(l.unread) > 0 {
		return fmt.Errorf("not all could be searched: %s", strings.Join(l.unread, "; "))
	}
	return nil
}

// clean judges what was found.
func (l litter) clean(t tenancy.Tenant) error {
	var wrong []string
	for _, file := range l.files {
		if found := l.secrets[file]; len(found) > 0 {
			wrong = append(wrong, file+" holds "+strings.Join(found, ", "))
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	return fmt.Errorf("in what Terraform left of tenant %s %s, want no secret: whoever reads the state has it, and a backup keeps it after it was replaced (terraform-provider-vault#2742)", t.Name, strings.Join(wrong, "; "))
}

// search looks for secrets in workspaces.
type search struct{ scanner *leak.Scanner }

// workspace searches every file of one.
func (s *search) workspace(w *terraform.Workspace) (litter, error) {
	l := litter{secrets: map[string][]string{}}
	var err error
	if l.files, err = w.Files(); err != nil {
		return l, err
	}
	for _, file := range l.files {
		if err := s.file(filepath.Join(w.Dir(), file), file, &l); err != nil {
			return l, err
		}
	}
	return l, nil
}

func (s *search) file(path, name string, l *litter) error {
	open, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("searching what Terraform left: %w", err)
	}
	defer open.Close()
	found, size, err := s.scanner.ScanPlace(name, open)
	l.bytes += size
	if err != nil {
		return fmt.Errorf("searching what Terraform left: %w", err)
	}
	for _, f := range found {
		if f.Needle == "" {
			l.unread = append(l.unread, f.String())
		} else if !slices.Contains(l.secrets[name], f.Needle) {
			l.secrets[name] = append(l.secrets[name], f.Needle)
		}
	}
	if strings.HasPrefix(name, terraform.ProvidersDir+"/") {
		return nil // programs as their makers delivered them, which may well show examples of tokens
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("searching what Terraform left: %w", err)
	}
	looks, err := lookalikes(content)
	if err != nil {
		return fmt.Errorf("searching %s, which Terraform left: %w", name, err)
	}
	for _, like := range looks {
		l.secrets[name] = append(l.secrets[name], "what looks like "+like)
	}
	return nil
}
