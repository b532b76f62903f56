package snapshot

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"
)

// ErrBad: the file is no Vault snapshot, or not a whole one.
var ErrBad = errors.New("this is not a whole Vault snapshot")

// small bounds the files of an archive that are kept in memory: all but
// state.bin are less than a kilobyte.
const small = 64 << 10 // bytes

// The files in an archive. The last holds the sums again, encrypted with what
// opens the Vault, and is missing if Vault failed while it wrote the archive.
const (
	metaFile   = "meta.json"
	stateFile  = "state.bin"
	sumsFile   = "SHA256SUMS"
	sealedFile = "SHA256SUMS.sealed"
)

// Meta is what a snapshot says of itself in the beginning.
type Meta struct {
	Index uint64 // raft's, of the last change in it
	Term  uint64
}

// Info is what is known of a snapshot that was read to its end.
type Info struct {
	Meta
	// Shares and Threshold of the seal that opens it, as they are stored in it;
	// zero if that was not found.
	Shares, Threshold int
	// Sums is the archive's list of sums, which were found right, and Sealed the
	// same list encrypted with the key that the shares make.
	Sums, Sealed []byte
}

// Check reads a snapshot to its end, in constant memory, and holds every file
// in it against the sums. It fails with ErrBad, or as r does.
func Check(r io.Reader) (Info, error) { return check(r, func(Meta) {}) }

// check calls begun once it knows the first file, which is the meta data.
func check(r io.Reader, begun func(Meta)) (Info, error) {
	source := &failing{r: r}
	info, err := walk(source, begun)
	if source.err != nil {
		return Info{}, source.err
	}
	if err != nil {
		return Info{}, fmt.Errorf("%w: %w", ErrBad, err)
	}
	return info, nil
}

// failing remembers how its reader failed, so that it can be told from an
// archive that is bad.
type failing struct {
	r   io.Reader
	err error
}

func (f *failing) Read(p []byte) (int, error) {
	n, err := f.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		f.err = err
	}
	return n, err
}

func walk(r io.Reader, begun func(Meta)) (info Info, err error) {
	in := bufio.NewReader(r)
	packed, err := gzip.NewReader(in)
	if err != nil {
		return Info{}, fmt.Errorf("it is no gzip file (%w)", err)
	}
	packed.Multistream(false)
	sums := map[string]string{}
	archive := tar.NewReader(packed)
	for {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return Info{}, fmt.Errorf("it is torn or no tar archive (%w)", err)
		}
		sum := sha256.New()
		if err := info.read(h.Name, archive, sum, begun); err != nil {
			return Info{}, fmt.Errorf("%s in it: %w", h.Name, err)
		}
		sums[h.Name] = hex.EncodeToString(sum.Sum(nil))
	}
	// The end of the gzip file bears a sum too, and nothing may come after it.
	if _, err := io.Copy(io.Discard, packed); err != nil {
		return Info{}, fmt.Errorf("its end is torn or damaged (%w)", err)
	}
	if _, err := in.ReadByte(); !errors.Is(err, io.EOF) {
		return Info{}, errors.New("something follows its end")
	}
	return info, info.compare(sums)
}

// read takes one file of the archive in.
func (i *Info) read(name string, r io.Reader, sum hash.Hash, begun func(Meta)) error {
	tee := io.TeeReader(r, sum)
	if name == stateFile {
		shares, threshold, err := seal(tee)
		if err == nil {
			i.Shares, i.Threshold = shares, threshold
		}
		_, err = io.Copy(io.Discard, tee) // the sum is of all of it, understood or not
		return err
	}
	content, err := io.ReadAll(io.LimitReader(tee, small))
	if err != nil {
		return err
	}
	if len(content) == small {
		return fmt.Errorf("it has %d bytes or more, where a few hundred are usual", small)
	}
	switch name {
	case metaFile:
		if err := json.Unmarshal(content, &i.Meta); err != nil || i.Index == 0 {
			return errors.New("it names no raft index")
		}
		begun(i.Meta)
	case sumsFile:
		i.Sums = content
	case sealedFile:
		i.Sealed = content
	}
	return nil
}

// compare holds the files that were read against the list of sums.
func (i *Info) compare(sums map[string]string) error {
	listed := 0
	for line := range strings.Lines(string(i.Sums)) {
		want, name, ok := strings.Cut(strings.TrimSpace(line), "  ")
		if !ok {
			return fmt.Errorf("%s in it is not understood", sumsFile)
		}
		if got, found := sums[name]; !found || !strings.EqualFold(got, want) {
			return fmt.Errorf("%s in it does not have the sum that is listed", name)
		}
		listed++
	}
	for _, name := range []string{metaFile, stateFile} {
		if !bytes.Contains(i.Sums, []byte("  "+name)) {
			return fmt.Errorf("%s is missing in it, or in its list of sums", name)
		}
	}
	if len(i.Sealed) == 0 {
		return fmt.Errorf("%s is missing in it, so Vault did not finish writing it", sealedFile)
	}
	return nil
}
