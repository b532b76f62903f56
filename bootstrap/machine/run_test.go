package machine

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// script is an actor that follows a script.
type script struct {
	facts   func() Facts
	do      func(context.Context, Step) error
	holding bool
	steps   []Step
}

func (s *script) Observe(context.Context) Facts { return s.facts() }
func (s *script) Holding() bool                 { return s.holding }
func (s *script) Do(ctx context.Context, step Step) error {
	s.steps = append(s.steps, step)
	return s.do(ctx, step)
}

func quiet(Turn) {}

func TestRunStopsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		s := &script{facts: func() Facts { return Facts{Answers: true, Initialised: true, Role: Standby} }}
		begin := time.Now()
		time.AfterFunc(10*time.Second, cancel)
		Run(ctx, s, time.Minute, quiet, quiet)
		if took := time.Since(begin); took != 10*time.Second {
			t.Errorf("it ended after %s, want when it was told to", took)
		}
	})
}

func TestRunKeepsKeysBeforeItStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		s := &script{holding: true, facts: func() Facts { return Facts{KeysInHand: true} }}
		s.do = func(ctx context.Context, step Step) error {
			if ctx.Err() != nil {
				t.Error("the step's context is over although keys are in hand")
			}
			if len(s.steps) < 4 {
				return errors.New("custody is down")
			}
			s.holding = false
			return nil
		}
		Run(ctx, s, time.Minute, quiet, quiet)
		if s.holding || len(s.steps) != 4 {
			t.Errorf("holding %t after steps %v; want the keys stored at the fourth try", s.holding, s.steps)
		}
	})
}

func TestRunGivesUpAfterGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		s := &script{holding: true, facts: func() Facts { return Facts{KeysInHand: true} }}
		s.do = func(context.Context, Step) error { return errors.New("custody is down") }
		begin := time.Now()
		Run(ctx, s, 20*time.Second, quiet, quiet)
		if took := time.Since(begin); took != 20*time.Second {
			t.Errorf("it ended after %s, want after the grace period of 20s", took)
		}
	})
}

func TestRunTellsNewsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		n := 0
		s := &script{do: func(context.Context, Step) error { return errors.New("no") }}
		s.facts = func() Facts {
			n++
			f := Facts{Answers: true, Initialised: true, Sealed: true, Threshold: 3}
			switch {
			case n > 20:
				cancel()
			case n > 10:
				f.Custody = Trouble{Kind: "unavailable", Text: "again"}
			case n > 1:
				f.Custody = Trouble{Kind: "denied", Text: "again"}
			}
			return f
		}
		var news []string
		Run(ctx, s, 0, func(turn Turn) {
			if turn.News && n <= 20 {
				news = append(news, turn.Decision.trouble.Kind)
			}
		}, quiet)
		if len(news) != 3 || news[0] != "" || news[1] != "denied" || news[2] != "unavailable" {
			t.Errorf("news were %q, want one for the state and one for each kind of trouble", news)
		}
	})
}
