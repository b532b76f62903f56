// Package custody is where keys are kept: unseal shares, the root token and
// the provisioner token live in Google Secret Manager, or in a server that
// speaks its gRPC API, and nowhere else.
//
// [Store] is what the rest of the project uses; [Client] is Store over the
// official Secret Manager client. Every payload travels with its CRC32C
// (Castagnoli): the server refuses a write that was damaged on the way, and
// the client refuses a read that was ([ErrCorrupt]).
//
// Errors are of type [*Error]; test them with errors.Is against [ErrExists],
// [ErrNotFound], [ErrDenied], [ErrUnavailable], [ErrCorrupt], [ErrState] and
// [ErrInvalid]. An error never holds a payload.
package custody

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"time"
)

// Store keeps versioned secrets. An id is a bare secret name, such as
// "vault-unseal-share-0", within the project that the Store was made for.
//
// All methods may fail with ErrDenied, ErrUnavailable or ErrInvalid besides
// the errors that they name.
type Store interface {
	// Create makes an empty secret. It is atomic: of any number of concurrent
	// callers exactly one succeeds, the others get ErrExists. That makes it fit
	// to be a lock.
	Create(ctx context.Context, id string) error
	// Add stores payload as a new version and returns the version's number.
	// ErrNotFound if the secret was not created, ErrCorrupt if the server did
	// not confirm the checksum. A failed Add may still have been stored.
	Add(ctx context.Context, id string, payload []byte) (version string, err error)
	// Read returns the newest enabled version. ErrNotFound if there is no such
	// secret or it has no enabled version, ErrCorrupt if the checksum differs.
	Read(ctx context.Context, id string) (Secret, error)
	// Versions lists all versions, newest first. ErrNotFound if there is no
	// such secret.
	Versions(ctx context.Context, id string) ([]Version, error)
	// List returns the ids of all secrets that the caller may see, sorted.
	List(ctx context.Context) ([]string, error)
	// Disable makes a version unreadable until it is enabled again.
	Disable(ctx context.Context, id, version string) error
	// Destroy erases the payload of a version for good.
	Destroy(ctx context.Context, id, version string) error
}

// Secret is one version of a secret with its payload. When it was created is
// told by [Store.Versions]: the API does not say it with the payload.
type Secret struct {
	Payload Payload
	Version string // number of the version, e.g. "3"
}

// Payload is secret bytes. It prints as "[redacted]" in every format, and
// encodes to that in JSON and slog; convert it to []byte or string to use it.
type Payload []byte

const redacted = "[redacted]"

// Wipe overwrites the payload with zeroes.
func (p Payload) Wipe() { clear(p) }

// String implements fmt.Stringer without showing the payload.
func (p Payload) String() string { return redacted }

// GoString implements fmt.GoStringer without showing the payload.
func (p Payload) GoString() string { return redacted }

// Format implements fmt.Formatter so that no verb (%x, %s, %d, …) shows it.
func (p Payload) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, redacted) }

// LogValue implements slog.LogValuer without showing the payload.
func (p Payload) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText implements encoding.TextMarshaler, which encoding/json uses too.
func (p Payload) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// String describes the secret without its payload.
func (s Secret) String() string {
	return fmt.Sprintf("version %s, payload %s", s.Version, redacted)
}

// GoString implements fmt.GoStringer without showing the payload.
func (s Secret) GoString() string { return "custody.Secret{" + s.String() + "}" }

// Format implements fmt.Formatter so that no verb shows the payload.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// LogValue implements slog.LogValuer without showing the payload.
func (s Secret) LogValue() slog.Value {
	return slog.GroupValue(
		slog.String("version", s.Version),
		slog.String("payload", redacted),
	)
}

// State of a version.
type State string

// The states of a version; only an enabled one can be read.
const (
	Enabled   State = "enabled"
	Disabled  State = "disabled"
	Destroyed State = "destroyed"
)

// Version describes one version of a secret, without its payload.
type Version struct {
	Name    string // number of the version, e.g. "3"
	State   State
	Created time.Time
}
