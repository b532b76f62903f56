package leak

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
)

func pack(t *testing.T, b []byte, steps ...func([]byte) ([]byte, error)) []byte {
	t.Helper()
	packed, err := then(steps...)(b)
	if err != nil {
		t.Fatal(err)
	}
	return packed
}

// endless gives a byte again and again.
type endless byte

func (e endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(e)
	}
	return len(p), nil
}

func TestBombIsAFinding(t *testing.T) {
	s, err := NewLimited(Limits{Expanded: 1 << 20, Depth: 8}, Needle{Name: "share-0", Value: share()})
	if err != nil {
		t.Fatal(err)
	}
	zeros := make([]byte, 8<<20)
	bomb := slices.Concat([]byte("before "), pack(t, zeros, gzipped), []byte(" after "), share())
	found := s.ScanBytes(bomb)
	if len(found) != 2 || !strings.Contains(found[0].String(), "gzip expands to more than 1048576 bytes in all") || found[0].Offset != 7 {
		t.Errorf("found %v, want the bomb", found)
	}
	if !hasNeedle(found, "share-0") {
		t.Errorf("what follows the bomb was not searched: %v", found)
	}
	exact := pack(t, zeros[:1<<20], gzipped)
	if found := s.ScanBytes(exact); len(found) > 0 {
		t.Errorf("content as long as the limit was taken for a bomb: %v", found)
	}
}

func TestDepthIsLimited(t *testing.T) {
	s := newScanner(t)
	nested := func(levels int) []byte {
		b := []byte("token=hvs.CAESIHexampleexample")
		for range levels {
			b = pack(t, b, gzipped)
		}
		return b
	}
	if found := s.ScanBytes(nested(s.limits.Depth)); len(found) != 1 || found[0].Needle != "root-token" {
		t.Errorf("within the limit: found %v", found)
	}
	found := s.ScanBytes(nested(s.limits.Depth + 1))
	if len(found) != 1 || !strings.Contains(found[0].String(), "gzip nests deeper than 16 levels: not searched") {
		t.Errorf("beyond the limit: found %v", found)
	}
}

func TestZstdThatAsksForTooMuchMemory(t *testing.T) {
	// A frame with a window of 1 GiB (RFC 8878, 3.1.1.1.2) and a raw block.
	frame := []byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 20 << 3, 0x29, 0, 0, 'h', 'e', 'l', 'l', 'o'}
	found := newScanner(t).ScanBytes(append([]byte("x"), frame...))
	if len(found) != 1 || !strings.Contains(found[0].String(), "zstd needs too much memory to be opened: not searched at byte 1") {
		t.Errorf("found %v", found)
	}
}

// The memory for a search does not grow with what is searched.
func TestMemoryIsConstant(t *testing.T) {
	s := newScanner(t)
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	if _, err := io.CopyN(w, endless('a'), 32<<20); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	text := strings.Repeat("one line of a log with a digest 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\n", 100)
	input := func() io.Reader {
		lines := make([]io.Reader, 200)
		for i := range lines {
			lines[i] = strings.NewReader(text)
		}
		return io.MultiReader(append(lines, bytes.NewReader(packed.Bytes()), io.LimitReader(endless('Q'), 16<<20))...)
	}
	watched := &watchedReader{Reader: input()}
	if found, err := s.Scan(watched); err != nil || len(found) > 0 {
		t.Fatalf("found %v (%v)", found, err)
	}
	if watched.most > 8<<20 {
		t.Errorf("a search of 50 MB took up to %d bytes of memory", watched.most)
	}
}

// watchedReader notes the most memory that is in use when it is read from.
type watchedReader struct {
	io.Reader
	reads      int
	most, from uint64
}

func (w *watchedReader) Read(p []byte) (int, error) {
	if w.reads%100 == 0 {
		var stats runtime.MemStats
		runtime.GC() // what is no longer in use does not count
		runtime.ReadMemStats(&stats)
		if w.reads == 0 {
			w.from = stats.HeapAlloc
		}
		w.most = max(w.most, stats.HeapAlloc-min(w.from, stats.HeapAlloc))
	}
	w.reads++
	return w.Reader.Read(p)
}

// Containers are found wherever they begin and end, and what follows them too.
func TestContainersAcrossReads(t *testing.T) {
	s := newScanner(t)
	secret := []byte("token=hvs.CAESIHexampleexample")
	for _, p := range packings {
		packed := pack(t, secret, p.pack)
		for _, before := range []int{0, 1, 2*chunk - len(packed)/2, 2*chunk - 3, 2*chunk + lookahead - 1, 4 * chunk} {
			text := slices.Concat(bytes.Repeat([]byte(". "), before/2), []byte("\n"), packed, []byte("\n\""), packed)
			found := s.ScanBytes(text)
			if !slices.ContainsFunc(found, func(f Finding) bool { return f.Needle == "root-token" && f.Within == p.within }) {
				t.Errorf("%s after %d bytes: found %v", p.name, before, found)
			}
		}
	}
}

// What looks like the beginning of a container, and reads on for long, does not hide
// the one that follows, wherever the reads end.
func TestContainersAfterAFalseBeginningAcrossReads(t *testing.T) {
	s := newScanner(t)
	secret := pack(t, []byte("token=hvs.CAESIHexampleexample"), gzipped)
	for name, begin := range map[string]string{
		"gzip with a name that does not end": "\x1f\x8b\x08\x08\x00\x00\x00\x00\x00\x00",
		"gzip with a long extra field":       "\x1f\x8b\x08\x04\x00\x00\x00\x00\x00\x00\xff\xff",
		"gzip with a stored block":           "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x00\x00\xf0\xff\x0f\x00",
		"zip with a long name":               "PK\x03\x04" + strings.Repeat("\x01", 22) + "\xff\xff\xff\xff",
		"zstd with a raw block":              "\x28\xb5\x2f\xfd\x04\x70\x00\x00\x10",
	} {
		for at := 2*chunk - 8<<10; at < 2*chunk+8<<10; at += 1024 {
			text := slices.Concat(bytes.Repeat([]byte(". "), at/2), []byte(begin), secret, bytes.Repeat([]byte(". "), chunk))
			if found := s.ScanBytes(text); !hasNeedle(found, "root-token") {
				t.Errorf("%s at %d: found %v", name, at, found)
			}
		}
	}
}

func TestContainersAfterWhatOnlyLooksLikeOne(t *testing.T) {
	s := newScanner(t)
	secret := pack(t, []byte("token=hvs.CAESIHexampleexample"), gzipped)
	for name, before := range map[string]string{
		"a magic number":   "\x1f\x8b\x08\x00",
		"a false header":   "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\x07\xff\xff\xff",
		"zstd":             "\x28\xb5\x2f\xfd\xff\xff\xff",
		"a zip":            "PK\x03\x04" + strings.Repeat("\x00", 40),
		"a cut member":     string(secret[:30]),
		"escapes":          strings.Repeat(`\x41`, 20),
		"a run":            strings.Repeat("A", 50) + `\`,
		"lines of words":   "\nword\nword\nword\n",
		"a whole member":   string(secret),
		"text of one word": strings.Repeat("a", 1000) + "!",
	} {
		if found := s.ScanBytes([]byte(before + string(secret))); !hasNeedle(found, "root-token") {
			t.Errorf("after %s the secret was not found: %v", name, found)
		}
	}
}

// A byte of a length before a base64 text may look like a character of it.
func TestBase64AfterCharacters(t *testing.T) {
	s := newScanner(t)
	for _, content := range [][]byte{
		pack(t, []byte("token=hvs.CAESIHexampleexample"), gzipped),
		[]byte("a longer text with " + fmt.Sprintf("%v", share())),
	} {
		for _, before := range []string{"", "a", "ab", "abc"} {
			text := before + base64.StdEncoding.EncodeToString(content)
			if found := s.ScanBytes([]byte(text)); len(found) == 0 {
				t.Errorf("nothing was found in %q", text)
			}
		}
	}
}

func TestZipWithSeveralFiles(t *testing.T) {
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for i := range 3 {
		f, err := w.Create(fmt.Sprintf("file-%d", i))
		if err != nil {
			t.Fatal(err)
		}
		text := strings.Repeat("nothing here ", 100)
		if i == 2 {
			text += "hvs.CAESIHexampleexample"
		}
		if _, err := io.WriteString(f, text); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if found := newScanner(t).ScanBytes(out.Bytes()); len(found) != 1 || found[0].Within != "zip" {
		t.Errorf("found %v", found)
	}
}

// FuzzScan shows that no input stops the search, neither by a panic nor so that a
// secret before or after it is missed.
func FuzzScan(f *testing.F) {
	s, err := NewLimited(Limits{Expanded: 1 << 20, Depth: 4}, Needle{Name: "share-0", Value: share()})
	if err != nil {
		f.Fatal(err)
	}
	for _, p := range packings {
		packed, err := p.pack([]byte("some text, repeated, some text, repeated"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(packed)
		f.Add(packed[:len(packed)/2])
	}
	f.Add([]byte("\\u00\\u002\\%2%25%2\n\nword\n wo"))
	f.Fuzz(func(t *testing.T, b []byte) {
		random := rand.New(rand.NewPCG(uint64(len(b)), 1))
		form := s.forms[0][random.IntN(len(s.forms[0]))]
		if found := s.ScanBytes(slices.Concat(b, form.text)); !hasNeedle(found, "share-0") {
			t.Errorf("a secret as %s after %q was missed", form.name, b)
		}
		if found := s.ScanBytes(slices.Concat(form.text, b)); !hasNeedle(found, "share-0") {
			t.Errorf("a secret as %s before %q was missed", form.name, b)
		}
		if redacted := s.Redact(slices.Concat(b, form.text, b)); len(s.index.all(redacted)) > 0 {
			t.Errorf("%q holds a secret still", redacted)
		}
	})
}
