package snapshot

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"testing"
	"testing/iotest"

	"google.golang.org/protobuf/encoding/protowire"
)

// file of an archive.
type file struct {
	name    string
	content []byte
}

// whole gives the files of a good archive of about size bytes.
func whole(size int) []file {
	var state []byte
	add := func(key string, value []byte) {
		var m []byte
		m = protowire.AppendBytes(protowire.AppendTag(m, 1, protowire.BytesType), []byte(key))
		m = protowire.AppendBytes(protowire.AppendTag(m, 2, protowire.BytesType), value)
		state = append(protowire.AppendVarint(state, uint64(len(m))), m...)
	}
	noise := make([]byte, size) // as encrypted data is, it does not get smaller
	_, _ = rand.Read(noise)
	add("core/lock", nil)
	add("logical/big", noise)
	add(sealKey, []byte(`{"type":"shamir","secret_shares":5,"secret_threshold":3}`))
	files := []file{{metaFile, []byte(`{"Version":1,"ID":"bolt-snapshot","Index":39,"Term":3}`)}, {stateFile, state}}
	var sums []byte
	for _, f := range files {
		sums = fmt.Appendf(sums, "%x  %s\n", sha256.Sum256(f.content), f.name)
	}
	return append(files, file{sumsFile, sums}, file{sealedFile, []byte("sealed")})
}

func pack(files []file) []byte {
	var out bytes.Buffer
	packed := gzip.NewWriter(&out)
	archive := tar.NewWriter(packed)
	for _, f := range files {
		_ = archive.WriteHeader(&tar.Header{Name: f.name, Mode: 0o600, Size: int64(len(f.content))})
		_, _ = archive.Write(f.content)
	}
	_ = archive.Close()
	_ = packed.Close()
	return out.Bytes()
}

// unpack gives the archive itself: of some bits of a gzip file nothing depends.
func unpack(raw []byte) []byte {
	packed, err := gzip.NewReader(bytes.NewReader(raw))
	if err != nil {
		return nil
	}
	out, _ := io.ReadAll(packed)
	return out
}

func TestCheck(t *testing.T) {
	for _, size := range []int{100, 1 << 20} {
		info, err := Check(iotest.HalfReader(bytes.NewReader(pack(whole(size)))))
		if err != nil || info.Index != 39 || info.Term != 3 || info.Shares != 5 || info.Threshold != 3 || string(info.Sealed) != "sealed" || len(info.Sums) == 0 {
			t.Errorf("%d bytes: %+v, error %v", size, info, err)
		}
	}
}

// TestCheckRefuses: nothing counts as a snapshot that is not a whole one.
func TestCheckRefuses(t *testing.T) {
	change := func(name string, to []byte) []byte {
		files := whole(100)
		for i := range files {
			if files[i].name == name {
				files[i].content = to
			}
		}
		return pack(files)
	}
	without := func(name string) []byte {
		return pack(slices.DeleteFunc(whole(100), func(f file) bool { return f.name == name }))
	}
	for name, raw := range map[string][]byte{
		"empty":         nil,
		"an error page": []byte("<html><body>502 Bad Gateway</body></html>"),
		"gzip, no archive": func() []byte {
			var b bytes.Buffer
			w := gzip.NewWriter(&b)
			_, _ = w.Write([]byte("hello"))
			_ = w.Close()
			return b.Bytes()
		}(),
		"other meta data": change(metaFile, []byte(`{"Index":40}`)),
		"no index":        change(metaFile, []byte(`{}`)),
		"other state":     change(stateFile, []byte("x")),
		"no sums":         change(sumsFile, nil),
		"odd sums":        change(sumsFile, []byte("state.bin\n")),
		"no meta":         without(metaFile),
		"no state":        without(stateFile),
		"no list":         without(sumsFile),
		"Vault gave up":   without(sealedFile),
		"vast list":       change(sealedFile, make([]byte, small)),
		"two in a row":    append(pack(whole(10)), pack(whole(10))...),
		"something after": append(pack(whole(10)), "x"...),
	} {
		if _, err := Check(bytes.NewReader(raw)); !errors.Is(err, ErrBad) {
			t.Errorf("%s: error %v; want ErrBad", name, err)
		} else {
			t.Logf("%s: %v", name, err)
		}
	}
}

// TestCheckFindsAnyDamage cuts a snapshot off at each byte, and flips each.
func TestCheckFindsAnyDamage(t *testing.T) {
	raw := pack(whole(300))
	for i := range raw {
		if _, err := Check(bytes.NewReader(raw[:i])); !errors.Is(err, ErrBad) {
			t.Errorf("cut off after %d of %d bytes: error %v", i, len(raw), err)
		}
		if i < 10 {
			continue // the time and flags of the gzip file, which bear no sum and mean nothing
		}
		damaged := bytes.Clone(raw)
		damaged[i] ^= 0x10
		if _, err := Check(bytes.NewReader(damaged)); !errors.Is(err, ErrBad) && !bytes.Equal(unpack(damaged), unpack(raw)) {
			t.Errorf("byte %d flipped: error %v", i, err)
		}
	}
}

func TestCheckTellsABadConnection(t *testing.T) {
	broken := errors.New("connection reset")
	_, err := Check(io.MultiReader(bytes.NewReader(pack(whole(100))[:50]), iotest.ErrReader(broken)))
	if !errors.Is(err, broken) || errors.Is(err, ErrBad) {
		t.Errorf("error %v; want the connection's, not the snapshot's", err)
	}
}

// TestCheckTakesAnySeal: what it does not understand of the state is no damage.
func TestCheckTakesAnySeal(t *testing.T) {
	for name, state := range map[string][]byte{"empty": nil, "no messages": []byte("\xff\xff\xff\xff"), "no seal": {1, 0}} {
		files := whole(10)
		files[1].content = state
		files[2].content = fmt.Appendf(nil, "%x  %s\n%x  %s\n", sha256.Sum256(files[0].content), metaFile, sha256.Sum256(state), stateFile)
		info, err := Check(bytes.NewReader(pack(files)))
		if err != nil || info.Shares != 0 {
			t.Errorf("%s: %+v, error %v", name, info, err)
		}
	}
}

// TestConstantMemory: a snapshot of any size passes through the sidecar, whose
// container has little memory.
func TestConstantMemory(t *testing.T) {
	raw := pack(whole(16 << 20))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	tap := newTap(bytes.NewReader(raw))
	defer tap.close()
	_, err := tap.begin()
	n, copyErr := io.Copy(struct{ io.Writer }{io.Discard}, tap)
	runtime.ReadMemStats(&after)
	if err != nil || copyErr != nil || n != int64(len(raw)) {
		t.Fatalf("%d of %d bytes, errors %v and %v", n, len(raw), err, copyErr)
	}
	if used := after.TotalAlloc - before.TotalAlloc; used > 1<<20 {
		t.Errorf("%d bytes were allocated for a snapshot of %d", used, len(raw))
	}
}

func TestTap(t *testing.T) {
	broken := errors.New("connection reset")
	for _, size := range []int{10, 3 << 20} {
		raw := pack(whole(size))
		for name, tt := range map[string]struct {
			source io.Reader
			want   error
		}{
			"whole":          {bytes.NewReader(raw), nil},
			"byte by byte":   {iotest.OneByteReader(bytes.NewReader(raw[:min(len(raw), 5000)])), nil},
			"torn":           {bytes.NewReader(raw[:len(raw)-20]), ErrBad},
			"more":           {bytes.NewReader(append(bytes.Clone(raw), "x"...)), ErrBad},
			"connection":     {io.MultiReader(bytes.NewReader(raw[:len(raw)/2]), iotest.ErrReader(broken)), broken},
			"no snapshot":    {bytes.NewReader(make([]byte, 1<<20)), ErrBad},
			"nothing at all": {bytes.NewReader(nil), ErrBad},
		} {
			if name == "byte by byte" && size > 10 {
				continue
			}
			tap := newTap(tt.source)
			meta, err := tap.begin()
			var got []byte
			if err == nil {
				got, err = io.ReadAll(tap)
			}
			tap.close()
			if !errors.Is(err, tt.want) {
				t.Errorf("%s of %d bytes: error %v, want %v", name, size, err, tt.want)
			}
			if tt.want == nil && (meta.Index != 39 || !bytes.Equal(got, raw)) {
				t.Errorf("%s: index %d, and %d bytes of %d", name, meta.Index, len(got), len(raw))
			}
		}
	}
}
