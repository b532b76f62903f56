package conformance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/hashicorp/vault/api"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/vaultproof/vaultproof/pkg/leak"
	"github.com/vaultproof/vaultproof/pkg/target"
)

// bundleDir holds logs, events and raft's state, in the run's directory.
const bundleDir = "bundle"

// maxLog is how much of one container's log goes into the bundle, in bytes.
const maxLog = 8 << 20

// bundle collects what explains a failure. Each part is tried even if another
// fails: a bundle is needed most when things are broken.
func (s *session) bundle(ctx context.Context) error {
	s.mu.Lock()
	scanner, err := leak.New(s.secrets...)
	s.mu.Unlock()
	if err != nil {
		return err
	}
	b := &bundler{dir: filepath.Join(s.dir, bundleDir), scanner: scanner}
	if err := os.MkdirAll(b.dir, 0o755); err != nil {
		return fmt.Errorf("making the bundle's directory: %w", err)
	}
	pods, err := s.target.Pods(ctx)
	if err != nil {
		b.note("pods", err)
	}
	for i := range pods {
		b.pod(ctx, s.target, &pods[i])
	}
	b.events(ctx, s.target)
	b.raft(ctx, s.target)
	return errors.Join(b.errs...)
}

type bundler struct {
	dir     string
	scanner *leak.Scanner
	errs    []error // of writing; what could not be read is only noted
}

// note says in the bundle itself what could not be collected.
func (b *bundler) note(part string, err error) {
	slog.Warn("a part of the bundle could not be collected", "part", part, "error", err.Error())
	b.write(part+".missing.txt", []byte(err.Error()+"\n"))
}

// write redacts data and writes it, unless a secret is in it still.
func (b *bundler) write(name string, data []byte) {
	clean := b.scanner.Redact(data)
	if found := b.scanner.ScanBytes(clean); len(found) > 0 {
		b.errs = append(b.errs, fmt.Errorf("%s was left out, because it holds %s after redaction", name, found[0]))
		return
	}
	if err := os.WriteFile(filepath.Join(b.dir, name), clean, 0o644); err != nil {
		b.errs = append(b.errs, fmt.Errorf("writing %s: %w", name, err))
	}
}

func (b *bundler) pod(ctx context.Context, t *target.Target, pod *corev1.Pod) {
	pod.ManagedFields = nil
	if text, err := yaml.Marshal(pod); err == nil {
		b.write(pod.Name+".yaml", text)
	}
	for _, c := range pod.Status.ContainerStatuses {
		for _, previous := range []bool{false, true} {
			if previous && c.RestartCount == 0 {
				continue
			}
			name := pod.Name + "." + c.Name
			if previous {
				name += ".previous"
			}
			text, err := containerLog(ctx, t, pod.Name, c.Name, previous)
			if err != nil {
				b.note(name, err)
				continue
			}
			b.write(name+".log", text)
		}
	}
}

func containerLog(ctx context.Context, t *target.Target, pod, container string, previous bool) ([]byte, error) {
	stream, err := t.Log(ctx, pod, container, previous)
	if err != nil {
		return nil, err
	}
	defer stream.Close()
	text, err := lastOf(stream, maxLog)
	if err != nil {
		return nil, fmt.Errorf("reading the log of %s/%s: %w", pod, container, err)
	}
	return text, nil
}

// lastOf reads to the end and keeps the last n bytes: what happened last says most.
func lastOf(r io.Reader, n int) ([]byte, error) {
	var kept []byte
	chunk := make([]byte, 64<<10)
	for {
		got, err := r.Read(chunk)
		if kept = append(kept, chunk[:got]...); len(kept) > 2*n {
			kept = append(kept[:0], kept[len(kept)-n:]...)
		}
		if errors.Is(err, io.EOF) {
			return kept[max(0, len(kept)-n):], nil
		}
		if err != nil {
			return nil, err
		}
	}
}

func (b *bundler) events(ctx context.Context, t *target.Target) {
	list, err := t.Client.CoreV1().Events(t.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		b.note("events", err)
		return
	}
	var text bytes.Buffer
	for _, e := range list.Items {
		at := e.LastTimestamp.Time
		if at.IsZero() {
			at = e.EventTime.Time
		}
		fmt.Fprintf(&text, "%s %s %s/%s %s: %s\n", at.UTC().Format("2006-01-02T15:04:05.000Z"), e.Type,
			e.InvolvedObject.Kind, e.InvolvedObject.Name, e.Reason, strings.TrimSpace(e.Message))
	}
	b.write("events.txt", text.Bytes())
}

// raft saves raft's view of its servers, if a token in custody may read it.
func (b *bundler) raft(ctx context.Context, t *target.Target) {
	for _, path := range []string{"configuration", "autopilot/state"} {
		name := "raft-" + strings.ReplaceAll(path, "/", "-")
		secret, err := t.ReadPrivileged(ctx, "sys/storage/raft/"+path)
		if err != nil {
			b.note(name, err)
			continue
		}
		b.writeSecret(name, secret)
	}
}

func (b *bundler) writeSecret(name string, secret *api.Secret) {
	text, err := yaml.Marshal(secret.Data)
	if err != nil {
		b.errs = append(b.errs, fmt.Errorf("encoding %s: %w", name, err))
		return
	}
	b.write(name+".yaml", text)
}
