package storage

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var begun = Fresh{Purpose: Init, Claim: "vault-0@2026-01-02T03:04:05Z", At: time.Date(2026, 1, 2, 3, 4, 6, 0, time.UTC)}

func open(t *testing.T) *Dir {
	t.Helper()
	d, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// look reads both markers.
func look(t *testing.T, d *Dir) (f Fresh, found, asked bool) {
	t.Helper()
	f, found, err := d.Fresh()
	must(t, err)
	asked, err = d.RebuildAsked()
	must(t, err)
	return f, found, asked
}

func TestLife(t *testing.T) {
	d := open(t)
	if _, found, asked := look(t, d); found || asked {
		t.Error("an empty folder has markers")
	}
	must(t, d.Begin(begun))
	if f, found, asked := look(t, d); f != begun || !found || asked {
		t.Errorf("marker %+v (found %t, rebuild %t); want %+v alone", f, found, asked, begun)
	}
	must(t, d.AskRebuild())
	must(t, d.AskRebuild())
	if _, found, asked := look(t, d); !found || !asked {
		t.Errorf("fresh %t, rebuild %t; want both", found, asked)
	}
	must(t, d.Begin(begun)) // the storage is empty again
	if _, found, asked := look(t, d); !found || asked {
		t.Errorf("fresh %t, rebuild %t; want the request met", found, asked)
	}
	must(t, d.AskRebuild())
	for range 2 {
		must(t, d.Settle())
		if _, found, asked := look(t, d); found || asked {
			t.Error("markers are left after Settle")
		}
	}
}

func TestNothingIsEmptiedThatIsNotFresh(t *testing.T) {
	d := open(t)
	if err := d.AskRebuild(); err == nil || !strings.Contains(err.Error(), "not marked as fresh") {
		t.Errorf("error %v; want a refusal", err)
	}
	if _, _, asked := look(t, d); asked {
		t.Error("the request was written all the same")
	}
}

func TestGarbledMarker(t *testing.T) {
	for name, content := range map[string]string{
		"empty": "", "torn": `{"purpose":"in`, "zeroes": "\x00\x00\x00\x00", "no purpose": `{"claim":"x"}`, "another purpose": `{"purpose":"later"}`, "no object": `"init"`,
	} {
		t.Run(name, func(t *testing.T) {
			d := open(t)
			must(t, os.WriteFile(filepath.Join(d.path, "fresh"), []byte(content), 0o600))
			if _, found, err := d.Fresh(); !found || !errors.Is(err, ErrGarbled) || !strings.Contains(err.Error(), d.path) {
				t.Errorf("found %t, error %v; want a found marker that is garbled, with its path", found, err)
			}
			if err := d.AskRebuild(); !errors.Is(err, ErrGarbled) {
				t.Errorf("error %v; want a refusal to empty the storage", err)
			}
			must(t, d.Begin(begun))
			if f, found, _ := look(t, d); f != begun || !found {
				t.Error("an empty storage cannot be marked anew")
			}
		})
	}
}

// crashed is what a simulated crash panics with.
type crashed struct{}

// TestCrashAtEveryMoment ends each change at each of its moments. What is left
// is what was before, or what should be after; a repetition completes it.
func TestCrashAtEveryMoment(t *testing.T) {
	prepared := func(changes ...func(*Dir) error) func(*testing.T, *Dir) {
		return func(t *testing.T, d *Dir) {
			for _, change := range changes {
				must(t, change(d))
			}
		}
	}
	begin := func(d *Dir) error { return d.Begin(begun) }
	for name, tt := range map[string]struct {
		prepare      func(*testing.T, *Dir)
		change       func(*Dir) error
		fresh, asked bool // when it is through
	}{
		"begin":                {prepared(), begin, true, false},
		"begin after a wipe":   {prepared(begin, (*Dir).AskRebuild), begin, true, false},
		"ask for a rebuild":    {prepared(begin), (*Dir).AskRebuild, true, true},
		"settle":               {prepared(begin), (*Dir).Settle, false, false},
		"settle after a doubt": {prepared(begin, (*Dir).AskRebuild), (*Dir).Settle, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			for at := 0; ; at++ {
				d := open(t)
				tt.prepare(t, d)
				moments, through := 0, false
				d.hit = func(string) {
					if moments++; moments > at {
						panic(crashed{})
					}
				}
				func() {
					defer func() {
						if r := recover(); r != nil && r != (crashed{}) {
							panic(r)
						}
					}()
					must(t, tt.change(d))
					through = true
				}()
				d.hit = func(string) {}
				f, found, asked := look(t, d) // fails if a marker is garbled
				if found && f != begun {
					t.Errorf("moment %d: marker %+v", at, f)
				}
				if asked && !found {
					t.Errorf("moment %d: the storage would be emptied although it is not fresh", at)
				}
				must(t, tt.change(d))
				if _, found, asked := look(t, d); found != tt.fresh || asked != tt.asked {
					t.Errorf("moment %d: fresh %t, rebuild %t after a repetition; want %t, %t", at, found, asked, tt.fresh, tt.asked)
				}
				if through {
					t.Logf("%d moments", at)
					if at < 4 {
						t.Error("the change hits too few moments to be tested by crashes")
					}
					return
				}
			}
		})
	}
}

func TestOpenExplains(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(file, nil, 0o600))
	for _, path := range []string{file, file + "-absent"} {
		if _, err := Open(path); err == nil || !strings.Contains(err.Error(), "-storage-dir") {
			t.Errorf("%s: error %v; want one that names the flag", path, err)
		}
	}
}

func TestUnreadableMarker(t *testing.T) {
	d := open(t)
	must(t, os.Mkdir(filepath.Join(d.path, "fresh"), 0o700)) // root reads any file, but no folder as one
	if _, _, err := d.Fresh(); err == nil || errors.Is(err, ErrGarbled) {
		t.Errorf("error %v; want that of reading", err)
	}
	if err := d.Begin(begun); err == nil {
		t.Error("no error although the marker cannot be put into place")
	}
}

func TestLock(t *testing.T) {
	d := open(t)
	locked := func() bool {
		t.Helper()
		l, err := d.Locked()
		must(t, err)
		return l
	}
	if locked() {
		t.Error("locked from the start")
	}
	release, err := d.Lock()
	must(t, err)
	first, again := locked(), locked()
	if !first || !again {
		t.Error("not locked while the lock is held")
	}
	if _, err := d.Lock(); !errors.Is(err, ErrLocked) {
		t.Errorf("error %v; want ErrLocked", err)
	}
	must(t, release())
	if locked() {
		t.Error("locked after the release")
	}
	release, err = d.Lock()
	must(t, err)
	must(t, release())
}
