package conformance

import (
	"context"
	"errors"
	"strings"
	"testing"
)

func TestWhatChecksShareIsMadeOnce(t *testing.T) {
	s := &session{}
	made := 0
	build := func(context.Context) (int, error) { made++; return 7, nil }
	for range 2 {
		if got, err := Share(t.Context(), &Case{session: s}, "seven", build); got != 7 || err != nil {
			t.Errorf("got %d (%v), want 7", got, err)
		}
	}
	if made != 1 {
		t.Errorf("made %d times, want once", made)
	}
}

func TestAFailureIsSharedUnlessItWasOneOfTime(t *testing.T) {
	r := &Case{session: &session{}}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	built := 0
	build := func(ctx context.Context) (string, error) {
		built++
		if err := ctx.Err(); err != nil {
			return "", err
		}
		return "", errors.New("broken")
	}
	if _, err := Share(over, r, "x", build); !errors.Is(err, context.Canceled) {
		t.Errorf("without time: %v", err)
	}
	for range 2 {
		if _, err := Share(t.Context(), r, "x", build); err == nil || err.Error() != "broken" {
			t.Errorf("with time: %v", err)
		}
	}
	if built != 2 {
		t.Errorf("built %d times, want once without time and once with", built)
	}
}

func TestWhatIsSharedIsUndoneInTheEnd(t *testing.T) {
	r := &Case{session: &session{}}
	order := ""
	r.AtEnd(func(context.Context) error { order += "a"; return nil })
	r.AtEnd(func(context.Context) error { order += "b"; return errors.New("b stays") })
	err := r.session.shared.clear(t.Context())
	if order != "ba" || err == nil || !strings.Contains(err.Error(), "b stays") {
		t.Errorf("undone in the order %q with %v, want ba and to be told what stays", order, err)
	}
	if err := r.session.shared.clear(t.Context()); err != nil || order != "ba" {
		t.Errorf("undone again: %q (%v)", order, err)
	}
}
