package load

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/vaultproof/vaultproof/pkg/history"
)

// reply is what became of a request.
type reply struct {
	outcome history.Outcome
	version int
	value   string
	pod     string
	err     string
	// mismatch is set when Vault refused a write because of its version.
	mismatch bool
	// denied is set when Vault said for certain that there is no such thing.
	denied bool
	// lasts is for how long a token or lease was granted, in seconds.
	lasts int64
}

// into puts what became of an operation into its record.
func (r reply) into(op *history.Op) {
	op.Outcome, op.Version, op.Pod, op.Error, op.Denied = r.outcome, r.version, r.pod, r.err, r.denied
}

// judge makes the reply of an answer. good reads one of status 200, and says what
// is missing from it; an operation of which the answer says nothing is in doubt.
func (a answer) judge(good func(body []byte, r *reply) (missing string)) reply {
	if a.status == 0 {
		return a.reply
	}
	r := a.reply
	if a.status != http.StatusOK && a.status != http.StatusNoContent {
		r.outcome, r.err = refused(a.status, a.body)
		return r
	}
	r.outcome = history.OK
	if missing := good(a.body, &r); missing != "" {
		r.outcome, r.err = history.Unknown, missing
	}
	return r
}

// errorsOf are the errors of an answer, as one text.
func errorsOf(body []byte) string {
	var got struct {
		Errors []string `json:"errors"`
	}
	if json.Unmarshal(body, &got) != nil {
		return ""
	}
	return strings.Join(strings.Fields(strings.Join(got.Errors, "; ")), " ")
}

// refused tells what an answer other than success means for a write.
func refused(status int, body []byte) (history.Outcome, string) {
	text := errorsOf(body)
	message := strings.TrimSpace(fmt.Sprintf("HTTP %d %s", status, text))
	switch {
	case status < 500:
		// Redirects by a standby, and refusals: Vault answers them before it
		// touches the storage.
		return history.Fail, message
	case strings.Contains(text, "Vault is sealed"), strings.Contains(text, "local node not active"):
		return history.Fail, message
	default:
		return history.Unknown, message
	}
}

// plain makes the text of a network error short and stable: no URL (each key
// would make another one), no ports.
func plain(err error) string {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	var op *net.OpError
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return "timeout: no answer in time"
	case errors.As(err, &op) && op.Timeout():
		return op.Op + ": timeout"
	case errors.As(err, &op):
		return op.Op + ": " + op.Err.Error()
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "the connection was closed before the answer"
	default:
		return err.Error()
	}
}
