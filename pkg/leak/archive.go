package leak

import (
	"compress/flate"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/klauspost/compress/zstd"
)

// maxWindow is how much memory a zstd stream may ask for, in bytes: four times what
// its levels up to 19 do.
const maxWindow = 32 << 20

// errTooLarge means that a container is one, and needs more memory than it gets.
var errTooLarge = errors.New("needs too much memory")

// maxHeader is how long the header of a gzip member or a file in a zip archive may
// be, in bytes. Random bytes that look like its beginning go on for longer.
const maxHeader = 4 << 10

// openGzip opens one member of a gzip file; the next one has its own beginning.
func openGzip(t tap) (content, error) {
	bounded := &header{tap: t, left: maxHeader}
	r, err := gzip.NewReader(bounded)
	if err != nil {
		return content{}, fmt.Errorf("opening gzip: %w", err)
	}
	r.Multistream(false)
	bounded.left = math.MaxInt
	return content{Reader: r, name: "gzip", compressed: true}, nil
}

// header is a tap of which a bounded number of bytes can be read.
type header struct {
	tap
	left int
}

// Read implements io.Reader.
func (h *header) Read(p []byte) (int, error) {
	if h.left <= 0 {
		return 0, io.ErrUnexpectedEOF
	}
	n, err := h.tap.Read(p[:min(len(p), h.left)])
	h.left -= n
	return n, err
}

// ReadByte implements io.ByteReader.
func (h *header) ReadByte() (byte, error) {
	if h.left <= 0 {
		return 0, io.ErrUnexpectedEOF
	}
	h.left--
	return h.tap.ReadByte()
}

func openZstd(t tap) (content, error) {
	r, err := zstd.NewReader(onlyReader{t}, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
	if err != nil {
		return content{}, fmt.Errorf("opening zstd: %w", err)
	}
	return content{Reader: zstdReader{r}, name: "zstd", compressed: true, close: r.Close}, nil
}

// onlyReader hides all but Read, of which zstd takes just what it needs.
type onlyReader struct{ io.Reader }

// zstdReader tells a stream that is too large from what is none.
type zstdReader struct{ *zstd.Decoder }

// Read implements io.Reader.
func (z zstdReader) Read(p []byte) (int, error) {
	n, err := z.Decoder.Read(p)
	if errors.Is(err, zstd.ErrWindowSizeExceeded) {
		err = errTooLarge
	}
	return n, err
}

// The fields of the header of a file in a zip archive, and methods (APPNOTE 4.3.7).
const (
	zipHeader  = 30
	zipMethod  = 8
	zipName    = 26
	zipExtra   = 28
	zipDeflate = 8
)

// openZip opens one file of a zip archive. One that is stored needs no opening:
// its bytes were searched already.
func openZip(t tap) (content, error) {
	var fields [zipHeader]byte
	if _, err := io.ReadFull(t, fields[:]); err != nil {
		return content{}, fmt.Errorf("opening zip: %w", err)
	}
	if binary.LittleEndian.Uint16(fields[zipMethod:]) != zipDeflate {
		return content{}, nil
	}
	skip := int(binary.LittleEndian.Uint16(fields[zipName:])) + int(binary.LittleEndian.Uint16(fields[zipExtra:]))
	if skip > maxHeader {
		return content{}, errors.New("opening zip: its header is too long")
	}
	if _, err := io.CopyN(io.Discard, t, int64(skip)); err != nil {
		return content{}, fmt.Errorf("opening zip: %w", err)
	}
	return content{Reader: flate.NewReader(t), name: "zip", compressed: true}, nil
}
