package ops

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"regexp"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/vaultproof/vaultproof/pkg/leak"
	"github.com/vaultproof/vaultproof/pkg/target"
)

// scanned is one log and what was found in it.
type scanned struct {
	name  string // pod/container, with "previous" for that of its last life
	bytes int64
	found []leak.Finding
	// tokens is how many lines hold something of a Vault token's form, and debug
	// how many the sidecar wrote below the level info.
	tokens, debug int
}

// scanLogs streams the present and previous log of every container of every
// Vault pod through the scanner.
func scanLogs(ctx context.Context, t *target.Target, pods []corev1.Pod, scanner *leak.Scanner) ([]scanned, error) {
	var logs []scanned
	for _, pod := range pods {
		for _, c := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
			for _, previous := range []bool{false, true} {
				if previous && c.RestartCount == 0 {
					continue
				}
				log, err := scanLog(ctx, t, scanner, pod.Name, c.Name, previous)
				if err != nil {
					return nil, err
				}
				logs = append(logs, log)
			}
		}
	}
	return logs, nil
}

// wantedLogs names the logs without which nothing is shown: those of Vault and
// of its sidecar in every pod.
func wantedLogs(t *target.Target, pods []corev1.Pod) []string {
	var names []string
	for _, pod := range pods {
		for container := range levelVariables(t) {
			names = append(names, pod.Name+"/"+container)
		}
	}
	slices.Sort(names)
	return names
}

func scanLog(ctx context.Context, t *target.Target, scanner *leak.Scanner, pod, container string, previous bool) (scanned, error) {
	name := pod + "/" + container
	if previous {
		name += " (previous)"
	}
	stream, err := t.Log(ctx, pod, container, previous)
	if err != nil {
		return scanned{name: name}, err
	}
	defer stream.Close()
	return scan(scanner, name, stream)
}

// scan streams bytes through the scanner, and their lines past whoever looks at them,
// without holding more than a line.
func scan(scanner *leak.Scanner, name string, stream io.Reader, also ...func(line []byte)) (scanned, error) {
	s := scanned{name: name}
	lines := &lineWriter{look: func(line []byte) {
		s.look(line)
		for _, look := range also {
			look(line)
		}
	}}
	var err error
	s.found, err = scanner.Scan(io.TeeReader(stream, io.MultiWriter(lines, (*byteCount)(&s.bytes))))
	lines.end()
	if err != nil {
		return s, fmt.Errorf("scanning %s: %w", name, err)
	}
	return s, nil
}

// byteCount counts the bytes written to it.
type byteCount int64

// Write implements io.Writer.
func (n *byteCount) Write(p []byte) (int, error) {
	*n += byteCount(len(p))
	return len(p), nil
}

// tokenForm is how Vault's service, batch and recovery tokens begin and go on.
var tokenForm = regexp.MustCompile(`\bhv[sbr]\.[A-Za-z0-9_-]{16,}`)

func (s *scanned) look(line []byte) {
	if tokenForm.Match(line) {
		s.tokens++
	}
	if bytes.Contains(line, []byte(`"level":"DEBUG`)) {
		s.debug++
	}
}
