package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// ErrLocked: another process is at work on this storage.
var ErrLocked = errors.New("another process is at work on this storage")

// glance is how long one who only looks may be in the way of one who locks.
const glance = 100 * time.Millisecond

// Lock keeps the sidecar away from the storage while a snapshot is restored
// into it. It ends with release, or with the process, however that ends.
func (d *Dir) Lock() (release func() error, err error) {
	f, err := os.OpenFile(d.file(lock), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the lock of the storage: %w", err)
	}
	for end := time.Now().Add(glance); ; {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return f.Close, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) || time.Now().After(end) {
			break
		}
		time.Sleep(glance / 20) // a lock tells nobody that it is free
	}
	_ = f.Close()
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, ErrLocked
	}
	return nil, fmt.Errorf("locking the storage: %w", err)
}

// Locked tells whether a process holds the lock.
func (d *Dir) Locked() (bool, error) {
	f, err := os.Open(d.file(lock))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	} else if err != nil {
		return false, fmt.Errorf("opening the lock of the storage: %w", err)
	}
	defer f.Close() // which unlocks
	// Shared, so that two who look do not see each other.
	err = unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB)
	switch {
	case errors.Is(err, unix.EWOULDBLOCK):
		return true, nil
	case err != nil:
		return false, fmt.Errorf("looking at the lock of the storage: %w", err)
	}
	return false, nil
}
