// Package storage keeps two marker files beside Vault's data, on the same
// volume, so that they share its fate. They close the one gap that custody
// cannot: the keys of a Vault whose initialiser died before it stored them.
//
//   - "fresh" is written before sys/init and removed before the first share is
//     submitted. While it is there, this storage was never opened, so nothing
//     that it holds can be missed. It says for what it was begun, in one line
//     of JSON, and holds no secret.
//   - "rebuild" asks whoever starts Vault to empty its storage first. It is
//     honoured only beside "fresh", and never written without it.
//
// Every change is complete on disk before the call returns, and at no moment of
// it does a reader see half of one: files appear by rename, and the folder is
// synced after.
package storage

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/vaultproof/vaultproof/bootstrap/failpoint"
)

// Purpose is what a fresh storage was begun for.
type Purpose string

// The purposes.
const (
	Init    Purpose = "init"    // a new Vault; its keys go to custody
	Restore Purpose = "restore" // a snapshot; the keys that open it until then are kept nowhere
)

// Fresh is what the marker of that name says.
type Fresh struct {
	Purpose Purpose   `json:"purpose"`
	Claim   string    `json:"claim"` // under which it was written, as keys.Claim.ID gives it
	At      time.Time `json:"at"`
}

// ErrGarbled: the marker is there, and says nothing that this version understands.
var ErrGarbled = errors.New("its content is not understood")

// Dir is the folder of the markers.
type Dir struct {
	path string
	hit  func(moment string) // of a change, for tests of a crash at each
}

// Open takes the folder at path, which must exist.
func Open(path string) (*Dir, error) {
	const mend = "mount the folder bootstrap of Vault's data volume there, or set -storage-dir to nothing to do without"
	fi, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("looking for the folder of the storage markers (%s): %w", mend, err)
	}
	if !fi.IsDir() {
		return nil, fmt.Errorf("the folder of the storage markers, %s, is no folder: %s", path, mend)
	}
	return &Dir{path: path, hit: failpoint.Hit}, nil
}

func (d *Dir) file(name string) string { return filepath.Join(d.path, name) }

const (
	fresh   = "fresh"
	rebuild = "rebuild"
	lock    = "lock"
)

// Fresh reads the marker; found is true even if its content is ErrGarbled.
func (d *Dir) Fresh() (f Fresh, found bool, err error) {
	raw, err := os.ReadFile(d.file(fresh))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Fresh{}, false, nil
	case err != nil:
		return Fresh{}, false, fmt.Errorf("reading the storage marker: %w", err)
	}
	if err := json.Unmarshal(raw, &f); err != nil || (f.Purpose != Init && f.Purpose != Restore) {
		return Fresh{}, true, fmt.Errorf("storage marker %s: %w", d.file(fresh), ErrGarbled)
	}
	return f, true, nil
}

// Begin marks an empty storage as fresh, whatever was marked before: a request
// to empty it has been met.
func (d *Dir) Begin(f Fresh) error {
	f.At = f.At.UTC().Truncate(time.Second)
	raw, err := json.Marshal(f)
	if err != nil {
		return fmt.Errorf("encoding the storage marker: %w", err)
	}
	if err := d.remove(rebuild); err != nil {
		return err
	}
	return d.write(fresh, append(raw, '\n'))
}

// AskRebuild asks for the storage to be emptied when Vault starts next. It
// refuses if the storage is not marked as fresh.
func (d *Dir) AskRebuild() error {
	if _, found, err := d.Fresh(); err != nil {
		return err
	} else if !found {
		return fmt.Errorf("the storage beside %s is not marked as fresh, so it is not asked to be emptied", d.path)
	}
	if asked, err := d.RebuildAsked(); asked || err != nil {
		return err
	}
	return d.write(rebuild, nil)
}

// RebuildAsked tells whether the next start of Vault empties the storage.
func (d *Dir) RebuildAsked() (bool, error) {
	_, err := os.Stat(d.file(rebuild))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	} else if err != nil {
		return false, fmt.Errorf("looking for the request to empty the storage: %w", err)
	}
	return true, nil
}

// Settle removes both markers, the request first: from now on the storage is
// worth keeping.
func (d *Dir) Settle() error {
	return errors.Join(d.remove(rebuild), d.remove(fresh))
}
