package leak

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

// The needle of the control is another one each time.
func TestSelfTestPasses(t *testing.T) {
	for range 10 {
		if err := newScanner(t).SelfTest(); err != nil {
			t.Fatal(err)
		}
	}
}

// A scanner that lost any single form fails its control.
func TestControlMissesEveryLostForm(t *testing.T) {
	s := newScanner(t)
	var text bytes.Buffer
	wanted := slices.Concat(s.plant(&text, 0), s.plant(&text, 1))
	if err := s.expect(bytes.NewReader(text.Bytes()), wanted); err != nil {
		t.Fatal(err)
	}
	for _, w := range wanted {
		lost := *s
		index := *s.index
		index.forms = slices.Clone(index.forms)
		index.forms[w.form].window = len(index.forms[w.form].text) + 1 // never long enough
		lost.index = &index
		if err := lost.expect(bytes.NewReader(text.Bytes()), wanted); err == nil {
			t.Errorf("a scanner without the form %s passed its control", s.index.forms[w.form].name)
		}
	}
}

// A scanner that opens one kind of container less fails its control, and so does
// one whose decoder ends too early.
func TestControlMissesEveryLostContainer(t *testing.T) {
	s := newScanner(t)
	for i, k := range allKinds {
		for fault, open := range map[string]func(tap) (content, error){
			"does not open": func(tap) (content, error) { return content{}, errors.New("lost") },
			"reads nothing from": func(t tap) (content, error) {
				inner, err := k.open(t)
				inner.Reader = strings.NewReader("")
				return inner, err
			},
		} {
			lost := *s
			lost.kinds = slices.Clone(allKinds)
			lost.kinds[i].open = open
			err := lost.SelfTest()
			if err == nil || !strings.Contains(err.Error(), "positive control") {
				t.Errorf("the control of a scanner that %s %s: %v", fault, k.name, err)
			}
		}
	}
}

// Every packing is needed: what finds it is not what finds another.
func TestControlHoldsEveryPacking(t *testing.T) {
	s := newScanner(t)
	control, err := s.planted()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range packings {
		at := bytes.Index(control.text, []byte("planted in "+p.name+": "))
		if at < 0 {
			t.Errorf("nothing is planted in %s", p.name)
		}
	}
	// A bit that falls over in the middle of a compressed plant is noticed.
	at := bytes.Index(control.text, []byte("planted in zstd: "))
	damaged := bytes.Clone(control.text)
	for i := range 200 {
		damaged[at+100+i] ^= 0x10
	}
	if err := s.expect(bytes.NewReader(damaged), control.wanted); err == nil {
		t.Error("the control passed with a damaged plant")
	}
}

func TestScanPlace(t *testing.T) {
	s := newScanner(t)
	found, size, err := s.ScanPlace("the log of vault-0", strings.NewReader("token=hvs.CAESIHexampleexample"))
	if err != nil || size != 30 {
		t.Fatalf("size %d, error %v", size, err)
	}
	if len(found) != 1 || found[0].String() != "root-token (raw) at byte 6 of the log of vault-0" {
		t.Errorf("found %v", found)
	}
	if found, _, err := s.ScanPlace("an empty place", strings.NewReader("")); err != nil || len(found) > 0 {
		t.Errorf("found %v, error %v", found, err)
	}
	lost := *s
	lost.kinds = allKinds[1:]
	if _, _, err := lost.ScanPlace("the log", strings.NewReader("")); err == nil || !strings.Contains(err.Error(), "the log") {
		t.Errorf("a scanner that opens no gzip searched a place: %v", err)
	}
	broken := errors.New("connection lost")
	if _, _, err := s.ScanPlace("the log", iotest.ErrReader(broken)); !errors.Is(err, broken) {
		t.Errorf("error %v, want %v", err, broken)
	}
}
