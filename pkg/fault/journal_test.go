package fault

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestJournalKeepsWhatIsNotUndone(t *testing.T) {
	path := filepath.Join(t.TempDir(), JournalFile)
	j, err := OpenJournal(path, "run-1")
	if err != nil {
		t.Fatal(err)
	}
	a, b := Ref{Kind: "PodChaos", Namespace: "vault", Name: "a"}, Ref{Kind: "NetworkChaos", Namespace: "vault", Name: "b"}
	for _, step := range []error{j.Begin(a), j.Begin(b), j.Done(a), j.Close()} {
		if step != nil {
			t.Fatal(step)
		}
	}
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	open, err := Open(file)
	if err != nil || len(open) != 1 || open[0].Ref != b || open[0].Run != "run-1" {
		t.Errorf("open entries %+v, error %v; want only %s", open, err, b)
	}
}

func TestJournalCutShortByACrash(t *testing.T) {
	whole := `{"run":"r","ref":{"kind":"PodChaos","name":"a"}}` + "\n"
	open, err := Open(strings.NewReader(whole + `{"run":"r","ref":{"ki`))
	if err != nil || len(open) != 1 {
		t.Errorf("a cut last line: %d entries, error %v; want 1 and none", len(open), err)
	}
	if _, err := Open(strings.NewReader("garbage\n" + whole)); err == nil {
		t.Error("a broken line in the middle was passed over in silence")
	}
	if _, err := Open(strings.NewReader(`{"run":"r"}` + "\n")); err == nil {
		t.Error("an entry that names nothing was accepted")
	}
}

func TestJournalAfterTheDiskIsGone(t *testing.T) {
	j, err := OpenJournal(filepath.Join(t.TempDir(), JournalFile), "r")
	if err != nil {
		t.Fatal(err)
	}
	j.Close()
	if err := j.Begin(Ref{Kind: "PodChaos", Name: "a"}); err == nil {
		t.Error("Begin on a closed journal succeeded: a fault would have been injected without record")
	}
}
