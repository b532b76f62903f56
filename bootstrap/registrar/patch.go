package registrar

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"strings"
)

// Where a patch may write: one label, or all at once.
const (
	allLabels = "/metadata/labels"
	oneLabel  = allLabels + "/"
)

// operation of a JSON patch (RFC 6902).
type operation struct {
	Op    string          `json:"op"`
	Path  string          `json:"path"`
	Value json.RawMessage `json:"value"`
}

// labels reads a patch. It is taken as a whole or not at all.
func (s *Server) labels(body []byte) (map[string]string, failure) {
	var ops []operation
	if err := json.Unmarshal(body, &ops); err != nil {
		return nil, failure{http.StatusBadRequest, "BadRequest", "the patch is no JSON patch: " + err.Error()}
	}
	labels := map[string]string{}
	for _, op := range ops {
		if op.Op != "add" && op.Op != "replace" {
			return nil, s.forbidden(fmt.Sprintf("operation %q is not for Vault's labels", op.Op))
		}
		set, err := op.labels()
		if err != nil {
			return nil, failure{http.StatusUnprocessableEntity, "Invalid", fmt.Sprintf("pods %q is invalid: %v", s.Pod, err)}
		}
		if set == nil {
			return nil, s.forbidden(fmt.Sprintf("%q is none of Vault's labels", op.Path))
		}
		maps.Copy(labels, set)
	}
	for key, value := range labels {
		valid, ours := values[key]
		if !ours {
			return nil, s.forbidden(fmt.Sprintf("%q is none of Vault's labels", key))
		}
		if !valid.MatchString(value) {
			return nil, failure{http.StatusUnprocessableEntity, "Invalid", fmt.Sprintf("pods %q is invalid: label %s cannot be %q", s.Pod, key, value)}
		}
	}
	return labels, failure{}
}

// labels of one operation; none if it is about anything else.
func (op operation) labels() (map[string]string, error) {
	if op.Path == allLabels {
		set := map[string]string{}
		if err := json.Unmarshal(op.Value, &set); err != nil {
			return nil, fmt.Errorf("labels: %w", err)
		}
		return set, nil
	}
	key, ok := strings.CutPrefix(op.Path, oneLabel)
	if !ok {
		return nil, nil
	}
	var value string
	if err := json.Unmarshal(op.Value, &value); err != nil {
		return nil, fmt.Errorf("label %s: %w", key, err)
	}
	return map[string]string{key: value}, nil
}

var (
	boolean = regexp.MustCompile(`^(true|false)$`)
	// values that each label may have; a version as Kubernetes allows it.
	values = map[string]*regexp.Regexp{
		Active: boolean, Sealed: boolean, Initialised: boolean, PerfStandby: boolean,
		Version: regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$`),
	}
	unfit = regexp.MustCompile(`[^\pL\pN._-]`)
)

// sanitize makes a version fit for a label, just as Vault's registration does.
func sanitize(version string) string { return unfit.ReplaceAllString(version, "-") }
