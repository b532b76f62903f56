// Package objectstore keeps files by name: in a folder, or in a bucket of
// Google Cloud Storage. An object is there as a whole or not at all.
package objectstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"
)

// Object is what a store tells of one.
type Object struct {
	Name    string
	Size    int64 // bytes
	Created time.Time
}

// Store keeps objects. Its methods are safe for concurrent use.
type Store interface {
	// Put stores what r gives under name. If r or the store fails, or ctx ends,
	// there is no object of that name that was not there before.
	Put(ctx context.Context, name string, r io.Reader) error
	// Get opens an object. ErrNotFound if there is none. The caller closes it.
	Get(ctx context.Context, name string) (io.ReadCloser, error)
	// List gives the objects whose names begin with prefix, sorted by name.
	List(ctx context.Context, prefix string) ([]Object, error)
	// Delete removes an object. ErrNotFound if there is none.
	Delete(ctx context.Context, name string) error
	// URL says where an object of that name is.
	URL(name string) string
}

// Errors of all stores, to be told with errors.Is.
var (
	ErrNotFound = errors.New("there is no such object")
	ErrDenied   = errors.New("access is denied")
	ErrName     = errors.New("this is no name for an object")
)

// Options say which store to open.
type Options struct {
	// URL is file:///path or gs://bucket/prefix; the prefix may be empty.
	URL string
	// Endpoint is the address of another server that speaks the API of Cloud
	// Storage, as http://host:port. It is spoken to without credentials. Empty
	// means Google's.
	Endpoint string
}

// Open makes the store. Nothing is connected to yet.
func Open(o Options) (Store, error) {
	u, err := url.Parse(o.URL)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%q is no URL, use file:///path or gs://bucket/prefix: %w", o.URL, err)
	case u.Scheme == "file" && u.Host == "" && strings.HasPrefix(u.Path, "/"):
		return &folder{path: u.Path}, nil
	case u.Scheme == "gs" && u.Host != "":
		return newBucket(u.Host, strings.Trim(u.Path, "/"), o.Endpoint)
	}
	return nil, fmt.Errorf("%q is no place for snapshots: use file:///path or gs://bucket/prefix", o.URL)
}

// check refuses names that could lead out of the store or be hidden in it.
func check(name string) error {
	if name == "" || strings.HasPrefix(name, ".") || strings.ContainsAny(name, "/\\\x00") {
		return fmt.Errorf("%q: %w; it may not be empty, begin with a dot or hold a slash", name, ErrName)
	}
	return nil
}

// readerIn ends with ctx.
type readerIn struct {
	ctx context.Context
	r   io.Reader
}

func (r readerIn) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}
