package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// shared matches the head of a block that would tie a Vault to others: to a cluster
// that it joins, or to labels that it sets.
var shared = regexp.MustCompile(`(?m)^[ \t]*"?(retry_join|service_registration)"?[^\n{=:\[]*\{`)

// configs are copies of the ConfigMaps with Vault's configuration, fit for a single
// server, and the pod is made to mount them.
func (tw *twin) configs(ctx context.Context) ([]corev1.ConfigMap, error) {
	files, err := tw.target.ConfigFiles(ctx)
	if err != nil {
		return nil, err
	}
	var made []corev1.ConfigMap
	for i := range tw.pod.Spec.Volumes {
		v := &tw.pod.Spec.Volumes[i]
		if v.ConfigMap == nil {
			continue
		}
		data := map[string]string{}
		for name, text := range files {
			key, mounted := strings.CutPrefix(name, v.ConfigMap.Name+"/")
			if !mounted || !slices.Contains([]string{"hcl", "json"}, key[strings.LastIndexByte(key, '.')+1:]) {
				continue
			}
			if data[key], err = alone(text); err != nil {
				return nil, fmt.Errorf("making a configuration for a twin from ConfigMap %s: %w", name, err)
			}
		}
		if len(data) == 0 {
			continue
		}
		config := corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: tw.pod.Name + "-" + v.Name, Namespace: tw.target.Namespace}, Data: data}
		v.ConfigMap.Name = config.Name
		made = append(made, config)
	}
	if len(made) == 0 {
		return nil, errors.New("Vault's configuration is in no ConfigMap that its container mounts, so there is nothing to make a twin's from")
	}
	return made, nil
}

// alone removes from a configuration what ties a Vault to others.
func alone(config string) (string, error) {
	for {
		at := shared.FindStringIndex(config)
		if at == nil {
			break
		}
		length, err := block(config[at[1]:])
		if err != nil {
			return "", err
		}
		config = config[:at[0]] + config[at[1]+length:]
	}
	for line := range strings.Lines(config) {
		if code, _, _ := strings.Cut(line, "#"); strings.Contains(code, "retry_join") {
			return "", fmt.Errorf("a twin would join the cluster: the configuration says %q, which is no block that can be left out", strings.TrimSpace(line))
		}
	}
	return config, nil
}

// block is the length of a block from behind its opening brace to behind its closing
// one. Braces in strings and comments do not count.
func block(text string) (int, error) {
	depth, quoted, comment := 1, false, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case comment:
			comment = c != '\n'
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '#', strings.HasPrefix(text[i:], "//"):
			comment = true
		case c == '{':
			depth++
		case c == '}':
			if depth--; depth == 0 {
				return i + 1, nil
			}
		}
	}
	return 0, errors.New("a block has no closing brace")
}
