package ops

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/onsi/ginkgo/v2"
	corev1 "k8s.io/api/core/v1"

	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/leak"
	"github.com/vaultproof/vaultproof/pkg/target"
)

var ops08 = conformance.Check{
	ID: "OPS-08", Area: area, Level: conformance.Must,
	Assertion: "the log level is not debug or trace, and no secret is in any log of the Vault pods",
	Source:    "bank-vaults operator_client.go: keys in logs at debug level",
	Observe:   "Vault's arguments, environment, files and sys/config/state/sanitized; logs of all containers, present and previous, searched for every secret in custody in all encodings, with a positive control",
}

var _ = conformance.It(ops08, conformance.Conformance, func(ctx ginkgo.SpecContext, r *conformance.Case) error {
	levels, err := logLevels(ctx, r.Target)
	if err != nil {
		return r.CannotTell(err)
	}
	if err := notVerbose(levels); err != nil {
		return err
	}
	scanner, err := r.Scanner(ctx)
	if err != nil {
		return r.CannotTell(err)
	}
	logs, err := scanLogs(ctx, r.Target, scanner)
	if err != nil {
		return r.CannotTell(err)
	}
	var size int64
	for _, l := range logs {
		size += l.bytes
	}
	r.Measure("logs_total", float64(len(logs)))
	r.Measure("logs_bytes", float64(size))
	r.Measure("secrets_searched_total", float64(scanner.Needles()))
	return clean(logs)
})

// logLevels collects every place that sets Vault's log level, with its value.
func logLevels(ctx context.Context, t *target.Target) (map[string]string, error) {
	template, err := t.Template(ctx)
	if err != nil {
		return nil, err
	}
	files, err := t.ConfigFiles(ctx)
	if err != nil {
		return nil, err
	}
	levels := configuredLevels(template.Spec, t.Container, files)
	secret, err := t.ReadPrivileged(ctx, "sys/config/state/sanitized")
	switch {
	case errors.Is(err, target.ErrNoPrivilege): // what is configured has to do
	case err != nil:
		return nil, err
	default:
		if level, ok := secret.Data["log_level"].(string); ok && level != "" {
			levels["sys/config/state/sanitized"] = level
		}
	}
	return levels, nil
}

var (
	levelFlag = regexp.MustCompile(`--?log-level[= ]"?([A-Za-z0-9]+)`)
	levelFile = regexp.MustCompile(`(?m)(?:^|[{,])[ \t]*"?log_level"?[ \t]*[=:][ \t]*"?([A-Za-z0-9]+)"?`)
)

// configuredLevels reads log levels from a container's command, its environment
// and Vault's files.
func configuredLevels(spec corev1.PodSpec, container string, files map[string]string) map[string]string {
	levels := map[string]string{}
	for _, c := range spec.Containers {
		if c.Name != container {
			continue
		}
		command := strings.Join(slices.Concat(c.Command, c.Args), " ")
		if match := levelFlag.FindStringSubmatch(command); match != nil {
			levels["the arguments of container "+container] = match[1]
		}
		for _, e := range c.Env {
			if e.Name == "VAULT_LOG_LEVEL" && e.Value != "" {
				levels["VAULT_LOG_LEVEL of container "+container] = e.Value
			}
		}
	}
	for name, text := range files {
		if match := levelFile.FindStringSubmatch(text); match != nil {
			levels["ConfigMap "+name] = match[1]
		}
	}
	return levels
}

// notVerbose judges log levels by where they are set. Vault's default is info.
func notVerbose(levels map[string]string) error {
	for _, place := range slices.Sorted(maps.Keys(levels)) {
		switch strings.ToLower(levels[place]) {
		case "debug", "trace", "1", "2": // the numbers of go-hclog
			return fmt.Errorf("%s sets the log level %s, want info or above: requests and keys may be printed", place, levels[place])
		}
	}
	return nil
}

// scanned is one log and what was found in it.
type scanned struct {
	name  string // pod/container, with "previous" for that of its last life
	bytes int64
	found []leak.Finding
}

// scanLogs streams the present and previous log of every container of every
// Vault pod through the scanner.
func scanLogs(ctx context.Context, t *target.Target, scanner *leak.Scanner) ([]scanned, error) {
	pods, err := t.Pods(ctx)
	if err != nil {
		return nil, err
	}
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

func scanLog(ctx context.Context, t *target.Target, scanner *leak.Scanner, pod, container string, previous bool) (scanned, error) {
	log := scanned{name: pod + "/" + container}
	if previous {
		log.name += " (previous)"
	}
	stream, err := t.Log(ctx, pod, container, previous)
	if err != nil {
		return log, err
	}
	defer stream.Close()
	counted := &counter{r: stream}
	log.found, err = scanner.Scan(counted)
	log.bytes = counted.n
	if err != nil {
		return log, fmt.Errorf("the log of %s: %w", log.name, err)
	}
	return log, nil
}

type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// clean judges the logs. No log at all, or only empty ones, prove nothing.
func clean(logs []scanned) error {
	var size int64
	var words []string
	for _, l := range logs {
		size += l.bytes
		for _, f := range l.found {
			words = append(words, fmt.Sprintf("%s in the log of %s", f, l.name))
		}
	}
	if len(words) > 0 {
		return fmt.Errorf("secrets are in logs: %s", strings.Join(words, "; "))
	}
	if size == 0 {
		return fmt.Errorf("%d logs of the Vault pods hold no byte: there is nothing to judge", len(logs))
	}
	return nil
}
