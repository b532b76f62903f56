package ops

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/onsi/ginkgo/v2"
	corev1 "k8s.io/api/core/v1"

	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/leak"
	"github.com/vaultproof/vaultproof/pkg/report"
	"github.com/vaultproof/vaultproof/pkg/timeline"
)

var ops07 = conformance.Check{
	ID: "OPS-07", Area: area, Level: conformance.Should,
	Assertion: "what a run leaves for whoever has to explain a failure is complete: timeline, events, logs, raft's state; and holds no secret",
	Source:    "failures.md \"Where secrets leak\", our own output",
	Observe: "the directory of this run: every fault's steps in the timeline, with what the load and the probe saw; events, manifest and logs of every Vault container, and raft's configuration in the bundle; " +
		"all files searched for every secret in custody in all encodings, with a positive control, and for anything of a Vault token's form",
	Last: true,
}

// What a run leaves.
const (
	bundleDir  = "bundle"
	eventsFile = "events.txt"
	raftFile   = "raft-configuration.yaml"
	// missing ends the name of a file that says why a part could not be collected.
	missing = ".missing.txt"
)

var _ = conformance.It(ops07, conformance.Conformance, func(ctx ginkgo.SpecContext, r *conformance.Case) error {
	dir := os.DirFS(r.Dir)
	if _, err := fs.Stat(dir, bundleDir); errors.Is(err, fs.ErrNotExist) {
		return r.Inconclusive("the run has no bundle yet: it is collected when the run ends")
	}
	pods, err := r.Target.Pods(ctx)
	if err != nil {
		return r.CannotTell(err)
	}
	var faults []report.Fault
	r.AmendFaults(func(f *report.Fault) { faults = append(faults, *f) })
	scanner, err := r.Scanner(ctx)
	if err != nil {
		return r.CannotTell(err)
	}
	files, err := scanFiles(dir, scanner)
	if err != nil {
		return r.CannotTell(err)
	}
	var size int64
	for _, f := range files {
		size += f.bytes
	}
	r.Measure("files_total", float64(len(files)))
	r.Measure("files_bytes", float64(size))
	r.Measure("secrets_searched_total", float64(scanner.Needles()))
	return errors.Join(redacted(files), complete(dir, pods, faults))
})

// complete judges that everything is there.
func complete(dir fs.FS, pods []corev1.Pod, faults []report.Fault) error {
	var lacking []string
	wanted := []string{eventsFile, raftFile}
	for _, pod := range pods {
		wanted = append(wanted, pod.Name+".yaml")
		for _, c := range pod.Status.ContainerStatuses {
			wanted = append(wanted, pod.Name+"."+c.Name+".log")
		}
	}
	for _, name := range wanted {
		info, err := fs.Stat(dir, path.Join(bundleDir, name))
		switch {
		case err != nil:
			lacking = append(lacking, bundleDir+"/"+name+why(dir, name))
		case info.Size() == 0:
			lacking = append(lacking, bundleDir+"/"+name+" (it is empty)")
		}
	}
	if len(pods) == 0 {
		lacking = append(lacking, "any Vault pod")
	}
	steps, err := untold(dir, faults)
	if err != nil {
		return err
	}
	if lacking = append(lacking, steps...); len(lacking) > 0 {
		return fmt.Errorf("the run's directory lacks %s; want all that explains a failure", strings.Join(lacking, "; "))
	}
	return nil
}

// why is the reason that the bundle gives for a part that is not there.
func why(dir fs.FS, name string) string {
	part := strings.TrimSuffix(name, path.Ext(name))
	text, err := fs.ReadFile(dir, path.Join(bundleDir, part+missing))
	if err != nil {
		return ""
	}
	return " (" + strings.TrimSpace(string(text)) + ")"
}

// untold names the steps of faults that the timeline does not have.
func untold(dir fs.FS, faults []report.Fault) ([]string, error) {
	file, err := dir.Open(conformance.TimelineFile)
	if err != nil {
		return []string{conformance.TimelineFile}, nil
	}
	defer file.Close()
	events, err := timeline.Read(file)
	if err != nil {
		return nil, fmt.Errorf("%s cannot be read again: %w", conformance.TimelineFile, err)
	}
	told := map[string][]string{} // steps by fault
	kinds := map[timeline.Kind]bool{}
	for _, e := range events {
		kinds[e.Kind] = true
		if e.Kind == timeline.Fault {
			told[e.Subject] = append(told[e.Subject], e.Value)
		}
	}
	var lacking []string
	phased := slices.ContainsFunc(faults, func(f report.Fault) bool { return f.Phases != report.Phases{} })
	for _, kind := range []timeline.Kind{timeline.Operation, timeline.Leader, timeline.Seal} {
		if phased && !kinds[kind] {
			lacking = append(lacking, fmt.Sprintf("any event of kind %q in %s, on which the phases of faults rest", kind, conformance.TimelineFile))
		}
	}
	for _, f := range faults {
		steps := []string{"injecting", "injected"}
		if f.Witness != "" {
			steps = append(steps, "witnessed")
		}
		if !f.RecoveredAt.IsZero() {
			steps = append(steps, "recovered")
		}
		for _, step := range steps {
			if !slices.Contains(told[f.ID], step) {
				lacking = append(lacking, fmt.Sprintf("the step %q of fault %s (%s of %s) in %s", step, f.ID, f.Kind, f.Target, conformance.TimelineFile))
			}
		}
	}
	return lacking, nil
}

// scanFiles scans every file below dir.
func scanFiles(dir fs.FS, scanner *leak.Scanner) ([]scanned, error) {
	var files []scanned
	err := fs.WalkDir(dir, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		f, err := dir.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		file, err := scan(scanner, name, f)
		if err != nil {
			return err
		}
		files = append(files, file)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("searching the run's directory: %w", err)
	}
	return files, nil
}

// redacted judges what was found in the files.
func redacted(files []scanned) error {
	var words []string
	for _, f := range files {
		for _, found := range f.found {
			words = append(words, fmt.Sprintf("%s in %s", found, f.name))
		}
		if len(f.found) == 0 && f.tokens > 0 {
			words = append(words, fmt.Sprintf("something of a Vault token's form in %d lines of %s", f.tokens, f.name))
		}
	}
	if len(words) > 0 {
		return fmt.Errorf("secrets are in what the run leaves: %s; want them redacted", strings.Join(words, "; "))
	}
	return nil
}
