package objectstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const (
	unfinished = ".unfinished-"
	// abandonedAfter is the age at which an unfinished object belongs to a
	// writer that died. Several may write into one folder.
	abandonedAfter = 24 * time.Hour
)

// folder is a Store in a folder of a file system.
type folder struct {
	path string
}

func (f *folder) file(name string) string { return filepath.Join(f.path, name) }

// URL implements Store.
func (f *folder) URL(name string) string { return "file://" + f.file(name) }

// Put implements Store. The object appears by rename, complete on disk.
func (f *folder) Put(ctx context.Context, name string, r io.Reader) error {
	if err := check(name); err != nil {
		return err
	}
	f.sweep()
	temp, err := os.CreateTemp(f.path, unfinished+"*")
	if err != nil {
		return f.failed("writing", name, err)
	}
	_, err = io.Copy(temp, readerIn{ctx, r})
	if err = errors.Join(err, temp.Sync(), temp.Close()); err == nil {
		err = os.Rename(temp.Name(), f.file(name))
	}
	if err != nil {
		_ = os.Remove(temp.Name())
		return f.failed("writing", name, err)
	}
	return f.sync()
}

// sweep removes what dead writers left. It fails silently: they are in nobody's
// way but the disk's.
func (f *folder) sweep() {
	left, _ := filepath.Glob(f.file(unfinished + "*"))
	for _, path := range left {
		if fi, err := os.Stat(path); err == nil && time.Since(fi.ModTime()) > abandonedAfter {
			_ = os.Remove(path)
		}
	}
}

func (f *folder) sync() error {
	d, err := os.Open(f.path)
	if err != nil {
		return fmt.Errorf("opening folder %s: %w", f.path, err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("syncing folder %s: %w", f.path, err)
	}
	return nil
}

// Get implements Store.
func (f *folder) Get(ctx context.Context, name string) (io.ReadCloser, error) {
	if err := check(name); err != nil {
		return nil, err
	}
	file, err := os.Open(f.file(name))
	if err != nil {
		return nil, f.failed("reading", name, err)
	}
	return struct {
		io.Reader
		io.Closer
	}{readerIn{ctx, file}, file}, nil
}

// List implements Store.
func (f *folder) List(_ context.Context, prefix string) ([]Object, error) {
	entries, err := os.ReadDir(f.path)
	if err != nil {
		return nil, f.failed("listing", "", err)
	}
	var out []Object
	for _, e := range entries {
		if !e.Type().IsRegular() || strings.HasPrefix(e.Name(), ".") || !strings.HasPrefix(e.Name(), prefix) {
			continue
		}
		fi, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue // deleted meanwhile
		} else if err != nil {
			return nil, f.failed("listing", e.Name(), err)
		}
		out = append(out, Object{Name: e.Name(), Size: fi.Size(), Created: fi.ModTime().UTC()})
	}
	slices.SortFunc(out, func(a, b Object) int { return cmp.Compare(a.Name, b.Name) })
	return out, nil
}

// Delete implements Store.
func (f *folder) Delete(_ context.Context, name string) error {
	if err := check(name); err != nil {
		return err
	}
	if err := os.Remove(f.file(name)); err != nil {
		return f.failed("deleting", name, err)
	}
	return f.sync()
}

func (f *folder) failed(doing, name string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = fmt.Errorf("%w: %w", ErrNotFound, err)
	case errors.Is(err, fs.ErrPermission):
		err = fmt.Errorf("%w: %w", ErrDenied, err)
	}
	return fmt.Errorf("%s %s: %w", doing, f.URL(name), err)
}
