package leak

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"strings"

	"github.com/klauspost/compress/zstd"
	"google.golang.org/protobuf/encoding/protowire"
)

// packing is a way in which the positive control hides its needle. Within is what
// a finding says of it.
type packing struct {
	name, within string
	pack         func([]byte) ([]byte, error)
}

// packings are all that a scanner has to see through.
var packings = []packing{
	{"plain text", "", func(b []byte) ([]byte, error) { return b, nil }},
	{"protobuf", "", protobuf},
	{"tar", "", tarred},
	{"zip, stored", "", func(b []byte) ([]byte, error) { return zipped(b, zip.Store) }},
	{"zip", "zip", func(b []byte) ([]byte, error) { return zipped(b, zip.Deflate) }},
	{"gzip", "gzip", gzipped},
	{"zstd", "zstd", zstandard},
	{"hex", "hex", func(b []byte) ([]byte, error) { return hex.AppendEncode(nil, b), nil }},
	{"base64", "base64", based(base64.StdEncoding)},
	{"base64url", "base64", based(base64.RawURLEncoding)},
	{"PEM", "base64", then(based(base64.StdEncoding), wrapped(64, "\n"))},
	{"YAML", "base64", then(based(base64.StdEncoding), wrapped(76, "\n    "))},
	{"PEM in JSON", "base64", then(based(base64.StdEncoding), wrapped(64, `\n`))},
	{"hex dump", "hex", then(based(hexAlphabet{}), wrapped(60, "\n"))},
	{"tar in gzip", "gzip", then(tarred, gzipped)},
	{"gzip in tar in zstd", "gzip in zstd", then(gzipped, tarred, zstandard)},
	{"Helm release in etcd", "gzip in base64", then(gzipped, based(base64.StdEncoding), protobuf)},
	{"Helm release in JSON", "gzip in base64 in base64", then(gzipped, based(base64.StdEncoding), based(base64.StdEncoding))},
	{"gzip in escaped JSON", "gzip in base64", then(gzipped, based(base64.StdEncoding), replaced("/", `\/`, "+", `\u002b`))},
	{"gzip in a URL", "gzip in base64", then(gzipped, based(base64.StdEncoding), replaced("/", "%2F", "+", "%2B", "=", "%3D"))},
	{"gzip in a URL, escaped twice", "gzip in base64", then(gzipped, based(base64.StdEncoding), replaced("/", "%252F", "+", "%252B", "=", "%253D"))},
}

func then(steps ...func([]byte) ([]byte, error)) func([]byte) ([]byte, error) {
	return func(b []byte) (out []byte, err error) {
		for _, step := range steps {
			if b, err = step(b); err != nil {
				return nil, err
			}
		}
		return b, nil
	}
}

// hexAlphabet encodes as hex where base64 is expected.
type hexAlphabet struct{}

func (hexAlphabet) EncodeToString(b []byte) string { return hex.EncodeToString(b) }

func based(alphabet interface{ EncodeToString([]byte) string }) func([]byte) ([]byte, error) {
	return func(b []byte) ([]byte, error) { return []byte(alphabet.EncodeToString(b)), nil }
}

func replaced(pairs ...string) func([]byte) ([]byte, error) {
	return func(b []byte) ([]byte, error) { return []byte(strings.NewReplacer(pairs...).Replace(string(b))), nil }
}

func wrapped(width int, separator string) func([]byte) ([]byte, error) {
	return func(b []byte) ([]byte, error) { return wrap(b, width, separator), nil }
}

// wrap breaks b into lines of a width.
func wrap(b []byte, width int, separator string) []byte {
	var out []byte
	for ; len(b) > width; b = b[width:] {
		out = append(append(out, b[:width]...), separator...)
	}
	return append(out, b...)
}

// protobuf is a message with two fields, as etcd keeps objects.
func protobuf(b []byte) ([]byte, error) {
	out := protowire.AppendTag(nil, 1, protowire.BytesType)
	out = protowire.AppendString(out, "/registry/secrets/vault/release")
	out = protowire.AppendTag(out, 2, protowire.BytesType)
	return protowire.AppendBytes(out, b), nil
}

func gzipped(b []byte) ([]byte, error) {
	var out bytes.Buffer
	return closed(&out, gzip.NewWriter(&out), b)
}

func zstandard(b []byte) ([]byte, error) {
	var out bytes.Buffer
	w, err := zstd.NewWriter(&out, zstd.WithEncoderConcurrency(1))
	if err != nil {
		return nil, fmt.Errorf("making a zstd writer: %w", err)
	}
	return closed(&out, w, b)
}

func closed(out *bytes.Buffer, w io.WriteCloser, b []byte) ([]byte, error) {
	if _, err := w.Write(b); err != nil {
		return nil, fmt.Errorf("compressing: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("compressing: %w", err)
	}
	return out.Bytes(), nil
}

func tarred(b []byte) ([]byte, error) {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	if err := w.WriteHeader(&tar.Header{Name: "control.txt", Mode: 0o600, Size: int64(len(b))}); err != nil {
		return nil, fmt.Errorf("writing a tar archive: %w", err)
	}
	return closed(&out, w, b)
}

func zipped(b []byte, method uint16) ([]byte, error) {
	var out bytes.Buffer
	archive := zip.NewWriter(&out)
	file, err := archive.CreateHeader(&zip.FileHeader{Name: "control.txt", Method: method})
	if err != nil {
		return nil, fmt.Errorf("writing a zip archive: %w", err)
	}
	if _, err := file.Write(b); err != nil {
		return nil, fmt.Errorf("writing a zip archive: %w", err)
	}
	if err := archive.Close(); err != nil {
		return nil, fmt.Errorf("writing a zip archive: %w", err)
	}
	return out.Bytes(), nil
}
