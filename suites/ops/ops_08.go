package ops

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
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
	Assertion: "the log level of Vault and of its sidecar is not debug or trace, and no secret is in any log of the Vault pods",
	Source:    "bank-vaults operator_client.go:352,365,369 (keys in logs at debug level)",
	Observe: "arguments and environment of both containers, Vault's files and sys/config/state/sanitized; logs of all containers, present and previous, searched for every secret in custody in all encodings, with a positive control, " +
		"and for anything of a Vault token's form. What the sidecar logs at debug level is in its own tests: the level of a stack that serves is left alone",
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
	pods, err := r.Target.Pods(ctx)
	if err != nil {
		return r.CannotTell(err)
	}
	logs, err := scanLogs(ctx, r.Target, pods, scanner)
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
	return clean(logs, wantedLogs(r.Target, pods))
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
	levels := configuredLevels(template.Spec, levelVariables(t), files)
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

// levelVariables names the environment variable of each container that sets its
// log level.
func levelVariables(t *target.Target) map[string]string {
	variables := map[string]string{t.Container: "VAULT_LOG_LEVEL"}
	if t.SidecarContainer != "" {
		variables[t.SidecarContainer] = "LOG_LEVEL"
	}
	return variables
}

var (
	levelFlag = regexp.MustCompile(`--?log-level[= ]"?([A-Za-z0-9+-]+)`)
	levelFile = regexp.MustCompile(`(?m)(?:^|[{,])[ \t]*"?log_level"?[ \t]*[=:][ \t]*"?([A-Za-z0-9]+)"?`)
)

// configuredLevels reads log levels from the commands of containers and from
// their variables, given by container, and from Vault's files.
func configuredLevels(spec corev1.PodSpec, variables map[string]string, files map[string]string) map[string]string {
	levels := map[string]string{}
	for _, c := range slices.Concat(spec.InitContainers, spec.Containers) {
		variable, ours := variables[c.Name]
		if !ours {
			continue
		}
		command := strings.Join(slices.Concat(c.Command, c.Args), " ")
		if match := levelFlag.FindStringSubmatch(command); match != nil {
			levels["the arguments of container "+c.Name] = match[1]
		}
		for _, e := range c.Env {
			if e.Name == variable && e.Value != "" {
				levels[variable+" of container "+c.Name] = e.Value
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

// notVerbose judges log levels by where they are set. The default of both is
// info.
func notVerbose(levels map[string]string) error {
	for _, place := range slices.Sorted(maps.Keys(levels)) {
		if verbose(levels[place]) {
			return fmt.Errorf("%s sets the log level %s, want info or above: requests and keys may be printed", place, levels[place])
		}
	}
	return nil
}

// verbose tells whether a level is below info, by its name in Vault or in slog,
// where INFO-1 is one too.
func verbose(level string) bool {
	switch strings.ToLower(level) {
	case "debug", "trace", "1", "2": // the numbers of go-hclog
		return true
	}
	var named slog.Level
	return named.UnmarshalText([]byte(level)) == nil && named < slog.LevelInfo
}

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
	log := scanned{name: pod + "/" + container}
	if previous {
		log.name += " (previous)"
	}
	stream, err := t.Log(ctx, pod, container, previous)
	if err != nil {
		return log, err
	}
	defer stream.Close()
	lines := &lineReader{log: &log}
	log.found, err = scanner.Scan(io.TeeReader(stream, lines))
	lines.end()
	if err != nil {
		return log, fmt.Errorf("the log of %s: %w", log.name, err)
	}
	return log, nil
}

// tokenForm is how Vault's service, batch and recovery tokens begin and go on.
var tokenForm = regexp.MustCompile(`\bhv[sbr]\.[A-Za-z0-9_-]{16,}`)

// lineReader notes what the lines written to it tell.
type lineReader struct {
	log  *scanned
	rest []byte // the beginning of a line
}

// Write implements io.Writer.
func (l *lineReader) Write(p []byte) (int, error) {
	l.log.bytes += int64(len(p))
	l.rest = append(l.rest, p...)
	for {
		line, rest, found := bytes.Cut(l.rest, []byte("\n"))
		if !found {
			return len(p), nil
		}
		l.look(line)
		l.rest = rest
	}
}

// end takes what is left for the last line.
func (l *lineReader) end() { l.look(l.rest) }

func (l *lineReader) look(line []byte) {
	if tokenForm.Match(line) {
		l.log.tokens++
	}
	if bytes.Contains(line, []byte(`"level":"DEBUG`)) {
		l.log.debug++
	}
}

// clean judges the logs. One that is wanted and absent or empty proves nothing,
// and neither do no logs at all.
func clean(logs []scanned, wanted []string) error {
	size := map[string]int64{}
	var words []string
	for _, l := range logs {
		size[l.name] += l.bytes
		for _, f := range l.found {
			words = append(words, fmt.Sprintf("%s in the log of %s", f, l.name))
		}
		if len(l.found) == 0 && l.tokens > 0 {
			words = append(words, fmt.Sprintf("something of a Vault token's form in %d lines of the log of %s", l.tokens, l.name))
		}
	}
	if len(words) > 0 {
		return fmt.Errorf("secrets are in logs: %s; want none (bank-vaults operator_client.go:352)", strings.Join(words, "; "))
	}
	for _, l := range logs {
		if l.debug > 0 {
			return fmt.Errorf("%d lines of the log of %s are of level DEBUG, want info or above", l.debug, l.name)
		}
	}
	for _, name := range wanted {
		if size[name] == 0 {
			return fmt.Errorf("the log of %s holds no byte: there is nothing to judge", name)
		}
	}
	if len(wanted) == 0 {
		return errors.New("there is no Vault pod whose log could be judged")
	}
	return nil
}
