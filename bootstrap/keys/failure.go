package keys

import (
	"errors"
	"fmt"

	"github.com/vaultproof/vaultproof/pkg/custody"
)

// Failure is a failed use of one secret.
type Failure struct {
	ID  string // the secret's name
	Err error  // custody's error; never holds a payload
}

// Error names the secret and what custody said.
func (f *Failure) Error() string { return fmt.Sprintf("secret %s: %v", f.ID, f.Err) }

// Unwrap gives custody's error.
func (f *Failure) Unwrap() error { return f.Err }

// Kind puts custody's error into one word, fit to tell whether a failure is
// still the same one: missing, denied, unavailable, corrupt, or failed.
func Kind(err error) string {
	switch {
	case err == nil:
		return ""
	case errors.Is(err, custody.ErrDenied):
		return "denied"
	case errors.Is(err, custody.ErrUnavailable):
		return "unavailable"
	case errors.Is(err, custody.ErrCorrupt):
		return "corrupt"
	case errors.Is(err, custody.ErrNotFound):
		return "missing"
	}
	return "failed"
}
