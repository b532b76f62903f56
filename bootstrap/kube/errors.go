package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
)

// What can go wrong, for errors.Is.
var (
	// ErrAbsent: this process has no access to a Kubernetes API at all.
	ErrAbsent = errors.New("no access to the Kubernetes API")
	// ErrForbidden: the API server knows us and says no, or does not know us.
	ErrForbidden = errors.New("the API server refuses this")
	// ErrConflict: the pod is no longer the one, or in the version, that was read.
	ErrConflict = errors.New("the pod has changed since it was read")
	// ErrNotFound: there is no such pod.
	ErrNotFound = errors.New("there is no such pod")
	// ErrInvalid: the API server or an admission webhook does not accept the change.
	ErrInvalid = errors.New("the API server does not accept the change")
	// ErrUnavailable: no answer, or one that says to come back later.
	ErrUnavailable = errors.New("the API server does not answer")
)

// Kind of an error in one word, for a metric's label: forbidden, conflict,
// absent-pod, invalid, unavailable, canceled or other.
func Kind(err error) string {
	for _, k := range []struct {
		err  error
		kind string
	}{{ErrForbidden, "forbidden"}, {ErrConflict, "conflict"}, {ErrNotFound, "absent-pod"}, {ErrInvalid, "invalid"},
		{ErrUnavailable, "unavailable"}, {context.Canceled, "canceled"}} {
		if errors.Is(err, k.err) {
			return k.kind
		}
	}
	return "other"
}

// silent classes the failure to get any answer. If the caller's own context
// ended, that is what it is told, and nothing about the API server.
func silent(caller context.Context, err error) error {
	if caller.Err() != nil {
		return fmt.Errorf("given up: %w", context.Cause(caller))
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// refused classes an answer other than success. The body is a Status object of
// the API, unless something in between answered.
func refused(code int, body []byte) error {
	var status struct {
		Kind    string `json:"kind"`
		Reason  string `json:"reason"`
		Message string `json:"message"`
	}
	said := fmt.Sprintf("status %d", code)
	if json.Unmarshal(body, &status) == nil && status.Kind == "Status" {
		said = fmt.Sprintf("status %d %s: %s", code, status.Reason, status.Message)
	}
	class := ErrUnavailable // come back later: 5xx, 429, or an answer that the API server does not give
	switch {
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		class = ErrForbidden
	case code == http.StatusNotFound:
		class = ErrNotFound
	case code == http.StatusConflict:
		class = ErrConflict
	case code >= 400 && code < 500 && code != http.StatusTooManyRequests && code != http.StatusRequestTimeout:
		class = ErrInvalid
	}
	return fmt.Errorf("%w (%s)", class, said)
}
