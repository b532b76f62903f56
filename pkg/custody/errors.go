package custody

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Kinds of failure, for errors.Is.
var (
	ErrExists      = errors.New("exists already")
	ErrNotFound    = errors.New("not found")
	ErrDenied      = errors.New("denied")
	ErrUnavailable = errors.New("unavailable") // try again later; also quota and deadline
	ErrCorrupt     = errors.New("corrupt")     // a checksum differs
	ErrState       = errors.New("in the wrong state")
	ErrInvalid     = errors.New("invalid")
)

// Error is a failed custody call: what was done, to which resource, which
// kind of failure it was, and how to mend it.
type Error struct {
	Op       string // "create", "add", "read", …
	Resource string // full resource name
	Kind     error  // one of the Err… values; nil if of no known kind
	Remedy   string // what an operator can do
	Err      error  // the cause; holds no payload
}

// Error tells operation, resource, kind, cause and remedy in one sentence.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "custody: cannot %s %s", e.Op, e.Resource)
	if e.Kind != nil {
		fmt.Fprintf(&b, ": %v", e.Kind)
	}
	if e.Err != nil {
		fmt.Fprintf(&b, ": %s", strings.TrimRight(describe(e.Err), "."))
	}
	if e.Remedy != "" {
		fmt.Fprintf(&b, "; %s", e.Remedy)
	}
	return b.String()
}

// Unwrap gives errors.Is both the kind and the cause.
func (e *Error) Unwrap() []error {
	var out []error
	if e.Kind != nil {
		out = append(out, e.Kind)
	}
	if e.Err != nil {
		out = append(out, e.Err)
	}
	return out
}

// describe drops the "rpc error: code = X desc = " that gRPC puts in front.
func describe(err error) string {
	if s, ok := status.FromError(err); ok && s.Message() != "" {
		return s.Message()
	}
	return err.Error()
}

// wrap turns what the Secret Manager client returned into an *Error. last is
// the error of the last attempt, which the client's retry loop drops when ctx
// ends; secret is what must not appear in the message (nil if nothing).
func wrap(op, resource string, err, last error, secret []byte) error {
	if err == nil {
		return nil
	}
	ended := errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
	cause := err
	if ended && last != nil {
		cause = last
	}
	e := &Error{Op: op, Resource: resource, Err: scrub(cause, secret)}
	if errors.Is(err, context.Canceled) || status.Code(err) == codes.Canceled {
		e.Err = context.Canceled // the caller gave up: not custody's failure
		return e
	}
	e.Kind, e.Remedy = kindOf(err, cause)
	if ended && last != nil {
		e.Err = fmt.Errorf("gave up when the time was over, last answer: %w", e.Err)
	}
	return e
}

// kindOf maps a gRPC code to a kind and the way to mend it.
//
//lint:ignore ST1008 the kind is what is looked up, not a failure of looking
func kindOf(err, cause error) (kind error, remedy string) {
	switch status.Code(cause) {
	case codes.AlreadyExists:
		return ErrExists, "use it, or delete it first"
	case codes.NotFound:
		return ErrNotFound, "check the project and the name prefix, or create it"
	case codes.PermissionDenied:
		return ErrDenied, "grant this service account the needed Secret Manager role on the secret"
	case codes.Unauthenticated:
		return ErrDenied, "check the projected token's audience and expiry, and that custody knows this cluster's signing keys"
	case codes.Unavailable, codes.DeadlineExceeded, codes.ResourceExhausted, codes.Aborted, codes.Internal:
		if strings.Contains(cause.Error(), "x509:") || strings.Contains(cause.Error(), "tls:") {
			return ErrUnavailable, "check that the configured CA is the one of the custody endpoint"
		}
		return ErrUnavailable, "check that the custody endpoint is up and reachable; the call can be tried again"
	case codes.DataLoss:
		return ErrCorrupt, "store the payload again"
	case codes.FailedPrecondition:
		return ErrState, "look at the versions and their states"
	case codes.InvalidArgument, codes.OutOfRange:
		return ErrInvalid, "check the name and the size of the payload (at most 64 KiB, not empty)"
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return ErrUnavailable, "check that the custody endpoint is up and reachable; the call can be tried again"
	}
	return nil, ""
}

// scrub makes sure that a server which echoes its input cannot put a payload
// into our errors.
func scrub(err error, secret []byte) error {
	if len(secret) == 0 || !bytes.Contains([]byte(err.Error()), secret) {
		return err
	}
	return status.Error(status.Code(err), "the server's message repeats the payload and is left out")
}
