package leak

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io"
	"net/url"
	"strings"
	"testing"
	"testing/iotest"
)

func share() []byte {
	b := make([]byte, 33)
	for i := range b {
		b[i] = byte(200 + 7*i)
	}
	return b
}

func newScanner(t *testing.T) *Scanner {
	t.Helper()
	s, err := New(
		Needle{Name: "share-0", Value: share()},
		Needle{Name: "root-token", Value: []byte("hvs.CAESIHexampleexample")},
	)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestFindsEveryEncoding(t *testing.T) {
	s := newScanner(t)
	b64 := base64.StdEncoding.EncodeToString(share())
	for name, text := range map[string]string{
		"raw":           string(share()),
		"hex":           hex.EncodeToString(share()),
		"HEX":           strings.ToUpper(hex.EncodeToString(share())),
		"base64":        b64,
		"url base64":    base64.RawURLEncoding.EncodeToString(share()),
		"in json b64":   base64.StdEncoding.EncodeToString([]byte(`{"k":"` + string(share()) + `"}`)),
		"shifted":       base64.StdEncoding.EncodeToString(append([]byte("x"), share()...)),
		"shifted twice": base64.StdEncoding.EncodeToString(append([]byte("xy"), share()...)),
		"double base64": base64.StdEncoding.EncodeToString([]byte(b64)),
		"url-escaped":   url.QueryEscape(b64),
	} {
		if found := s.ScanBytes([]byte("before " + text + " after")); !hasNeedle(found, "share-0") {
			t.Errorf("%s was not found", name)
		}
	}
	if err := s.SelfTest(); err != nil {
		t.Error(err)
	}
}

func TestFindsAcrossReads(t *testing.T) {
	s := newScanner(t)
	text := strings.Repeat("a", chunkSize-10) + "hvs.CAESIHexampleexample" + strings.Repeat("b", chunkSize)
	for name, r := range map[string]io.Reader{
		"plain":   strings.NewReader(text),
		"halved":  iotest.HalfReader(strings.NewReader(text)),
		"by byte": iotest.OneByteReader(strings.NewReader(text[chunkSize-400 : chunkSize+400])),
	} {
		found, err := s.Scan(r)
		if err != nil || len(found) == 0 {
			t.Fatalf("%s: found %v, error %v", name, found, err)
		}
		if name == "plain" && found[0].Offset != int64(chunkSize-10) {
			t.Errorf("offset %d, want %d", found[0].Offset, chunkSize-10)
		}
	}
}

func TestCleanTextHasNoFinding(t *testing.T) {
	if found := newScanner(t).ScanBytes([]byte("core: vault is unsealed; listener started")); len(found) != 0 {
		t.Errorf("found %v in clean text", found)
	}
}

func TestRedactLeavesNothing(t *testing.T) {
	s := newScanner(t)
	text := []byte("a " + base64.StdEncoding.EncodeToString(share()) + " b hvs.CAESIHexampleexample c")
	redacted := s.Redact(text)
	if found := s.ScanBytes(redacted); len(found) != 0 {
		t.Errorf("after redaction: %v", found)
	}
	if !bytes.Contains(redacted, []byte("[redacted root-token] c")) {
		t.Errorf("redaction does not say what was there: %q", redacted)
	}
}

func TestRefusesWhatItCannotFind(t *testing.T) {
	if _, err := New(Needle{Name: "short", Value: []byte("abc")}); err == nil {
		t.Error("a needle of 3 bytes was accepted")
	}
	if _, err := New(Needle{Value: share()}); err == nil {
		t.Error("a needle without name was accepted")
	}
	if err := (&Scanner{}).SelfTest(); err == nil {
		t.Error("a scanner without needles passed its control")
	}
	blind := newScanner(t)
	blind.patterns = blind.patterns[:1]
	if err := blind.SelfTest(); err == nil {
		t.Error("a scanner that lost its patterns passed its control")
	}
}

func TestScanReportsReadErrors(t *testing.T) {
	broken := errors.New("connection lost")
	if _, err := newScanner(t).Scan(iotest.ErrReader(broken)); !errors.Is(err, broken) {
		t.Errorf("error %v, want %v", err, broken)
	}
}
