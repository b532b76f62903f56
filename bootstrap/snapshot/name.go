package snapshot

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/vaultproof/vaultproof/bootstrap/objectstore"
)

const (
	prefix, suffix = "vault-", ".snap"
	stamp          = "20060102T150405Z"
)

// Name of a snapshot: vault-<UTC time>-<raft index>.snap. Names sort by time.
func Name(at time.Time, index uint64) string {
	return prefix + at.UTC().Format(stamp) + "-" + strconv.FormatUint(index, 10) + suffix
}

// taken reads the time from a name; ok is false if it is not of Name's form.
func taken(name string) (at time.Time, ok bool) {
	middle, hasPrefix := strings.CutPrefix(name, prefix)
	middle, hasSuffix := strings.CutSuffix(middle, suffix)
	when, index, cut := strings.Cut(middle, "-")
	_, indexErr := strconv.ParseUint(index, 10, 64)
	at, err := time.Parse(stamp, when)
	return at, hasPrefix && hasSuffix && cut && indexErr == nil && err == nil
}

// ErrNone: the store holds no snapshot.
var ErrNone = errors.New("there is no snapshot named vault-*.snap")

// List gives the store's snapshots, the oldest first. What bears another kind
// of name is left out.
func List(ctx context.Context, store objectstore.Store) ([]objectstore.Object, error) {
	all, err := store.List(ctx, prefix)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(o objectstore.Object) bool {
		_, ok := taken(o.Name)
		return !ok
	}), nil
}

// Latest names the newest snapshot. ErrNone if there is none.
func Latest(ctx context.Context, store objectstore.Store) (string, error) {
	all, err := List(ctx, store)
	if err != nil {
		return "", err
	}
	if len(all) == 0 {
		return "", fmt.Errorf("looking for the newest in %s: %w", store.URL(""), ErrNone)
	}
	return all[len(all)-1].Name, nil
}

// Verify reads a stored snapshot back and checks it.
func Verify(ctx context.Context, store objectstore.Store, name string) (Info, error) {
	r, err := store.Get(ctx, name)
	if err != nil {
		return Info{}, err
	}
	defer r.Close()
	info, err := Check(r)
	if err != nil {
		return Info{}, fmt.Errorf("%s: %w", store.URL(name), err)
	}
	return info, nil
}
