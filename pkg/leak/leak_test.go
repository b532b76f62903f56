package leak

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
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

func TestFindsAcrossReads(t *testing.T) {
	s := newScanner(t)
	text := strings.Repeat("a", chunk-10) + "hvs.CAESIHexampleexample" + strings.Repeat("b", chunk)
	for name, r := range map[string]io.Reader{
		"plain":   strings.NewReader(text),
		"halved":  iotest.HalfReader(strings.NewReader(text)),
		"by byte": iotest.OneByteReader(strings.NewReader(text[chunk-400 : chunk+400])),
	} {
		found, err := s.Scan(r)
		if err != nil || len(found) == 0 {
			t.Fatalf("%s: found %v, error %v", name, found, err)
		}
		if name == "plain" && found[0].Offset != int64(chunk-10) {
			t.Errorf("offset %d, want %d", found[0].Offset, chunk-10)
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
	if _, err := NewLimited(Limits{}, Needle{Name: "share-0", Value: share()}); err == nil {
		t.Error("a scanner that may open nothing was accepted")
	}
}

func TestScanReportsReadErrors(t *testing.T) {
	broken := errors.New("connection lost")
	if _, err := newScanner(t).Scan(iotest.ErrReader(broken)); !errors.Is(err, broken) {
		t.Errorf("error %v, want %v", err, broken)
	}
}

func hasNeedle(found []Finding, name string) bool {
	return slices.ContainsFunc(found, func(f Finding) bool { return f.Needle == name })
}

func TestFindingSaysEverythingButTheSecret(t *testing.T) {
	f := Finding{Place: "the log of vault-0/vault", Needle: "share-0", Encoding: "hex", Truncated: true, Within: "gzip in base64", Offset: 12}
	if got, want := f.String(), "share-0 (hex, truncated) in gzip in base64 at byte 12 of the log of vault-0/vault"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// What all tokens of a kind begin with is no secret: neither the beginning of a
// Vault token nor the header and claims of a JWT.
func TestPublicBeginningIsNoLeak(t *testing.T) {
	claims := "eyJhbGciOiJSUzI1NiIsImtpZCI6Ii0ifQ.eyJpc3MiOiJodHRwczovL2t1YmVybmV0ZXMuZGVmYXVsdC5zdmMifQ."
	s, err := New(
		Needle{Name: "reviewer", Value: []byte(claims + "c2lnbmF0dXJlLW9mLW9uZQ")},
		Needle{Name: "token", Value: []byte("hvs.CAESIJ0123456789abcdefghij")},
	)
	if err != nil {
		t.Fatal(err)
	}
	other := []byte("token hvs.CAESIJ01zzzzzzzzzzzzzzzz, jwt " + claims + "AnotherSignatureAltogether")
	for _, text := range [][]byte{other, []byte(base64.StdEncoding.EncodeToString(other)), []byte(hex.EncodeToString(other))} {
		if found := s.ScanBytes(text); len(found) > 0 {
			t.Errorf("another token was taken for the secret: %v", found)
		}
	}
	for _, text := range []string{"x" + claims + "c2lnbmF0dXJlLW9mLW9uZQ", "mF0dXJlLW9mL", "456789abcdef"} {
		if found := s.ScanBytes([]byte(text)); len(found) != 1 {
			t.Errorf("found %v, want one secret", found)
		}
	}
	if found := s.ScanBytes([]byte("a " + claims + "c2lnbmF0dXJlLW9mLW9uZQ")); len(found) != 1 || found[0].Offset != 2 || found[0].Truncated {
		t.Errorf("a whole token was found as %v, want it from byte 2 on", found)
	}
}

func TestScannerServesSeveralAtOnce(t *testing.T) {
	s := newScanner(t)
	var wait sync.WaitGroup
	for i := range 8 {
		wait.Go(func() {
			text := strings.Repeat("clean ", i*20_000)
			if found := s.ScanBytes([]byte(text)); len(found) > 0 {
				t.Errorf("found %v in clean text", found)
			}
			if _, _, err := s.ScanPlace("place", strings.NewReader(text)); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
}
