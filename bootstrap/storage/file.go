package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// write puts a file into place as a whole.
func (d *Dir) write(name string, content []byte) error {
	d.hit("before-write-" + name)
	temp := d.file("." + name)
	if err := d.fill(temp, content); err != nil {
		return fmt.Errorf("writing the storage marker %s: %w", name, err)
	}
	d.hit("filled-" + name)
	if err := os.Rename(temp, d.file(name)); err != nil {
		return fmt.Errorf("putting the storage marker %s into place: %w", name, err)
	}
	d.hit("renamed-" + name)
	if err := d.sync(); err != nil {
		return err
	}
	d.hit("after-write-" + name)
	return nil
}

func (d *Dir) fill(path string, content []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	return errors.Join(err, f.Sync(), f.Close())
}

// remove takes a file away. It syncs the folder even if there was none: an
// earlier removal may not have reached the disk.
func (d *Dir) remove(name string) error {
	d.hit("before-remove-" + name)
	err := os.Remove(d.file(name))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing the storage marker %s: %w", name, err)
	}
	d.hit("removed-" + name)
	if err := d.sync(); err != nil {
		return err
	}
	d.hit("after-remove-" + name)
	return nil
}

func (d *Dir) sync() error {
	f, err := os.Open(d.path)
	if err != nil {
		return fmt.Errorf("opening the folder of the storage markers: %w", err)
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		return fmt.Errorf("syncing the folder of the storage markers: %w", err)
	}
	return nil
}
