package ops

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/vaultproof/vaultproof/pkg/target"
)

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
