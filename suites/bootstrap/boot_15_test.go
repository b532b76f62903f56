package bootstrap

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/vaultproof/vaultproof/pkg/target"
)

func TestUnsealedInSpiteOfBogusShares(t *testing.T) {
	start := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	at := func(l target.SealLook, ms int) target.SealLook {
		l.At = start.Add(time.Duration(ms) * time.Millisecond)
		return l
	}
	hit := func(ms int) post { return post{at: start.Add(time.Duration(ms) * time.Millisecond), sealed: true} }
	quick := []target.SealLook{at(lookOpen, 0), at(lookSilent, 100), at(lookSealed, 2000), at(lookOpen, 2300)}
	for name, c := range map[string]struct {
		looks []target.SealLook
		posts []post
		want  string
		took  time.Duration
	}{
		"at once":               {quick, []post{hit(2100)}, "", 300 * time.Millisecond},
		"seen by a share first": {quick, []post{hit(1900)}, "", 400 * time.Millisecond},
		"too late":              {[]target.SealLook{at(lookSealed, 0), at(lookSealed, 5000), at(lookOpen, 5100)}, []post{hit(10)}, "took 5.1s", 0},
		"wedged":                {[]target.SealLook{at(lookOpen, 0), at(lookSealed, 1000), at(lookSealed, 60000)}, []post{hit(1000)}, "was not unsealed", 0},
		"only open before":      {[]target.SealLook{at(lookOpen, 0)}, []post{hit(500)}, "was not unsealed", 0},
		"no share in time":      {quick, []post{{at: start}}, "none reached", 0},
	} {
		took, err := disturbance{pod: "vault-1", looks: c.looks, posts: c.posts}.unsealed()
		if (c.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.want) || err == nil && took != c.took {
			t.Errorf("%s: %s, %v; want %s, %q", name, took, err, c.took, c.want)
		}
	}
	// Sealed with a hold for three seconds, of which only those after it count.
	held := disturbance{pod: "vault-1", from: start.Add(2 * time.Second), posts: []post{hit(500), hit(2050)}}
	held.looks = []target.SealLook{at(lookSealed, 0), at(lookSealed, 1000), at(lookOpen, 2900)}
	if took, err := held.unsealed(); err != nil || took != 900*time.Millisecond {
		t.Errorf("held before: %s, %v; want 900ms", took, err)
	}
	if _, err := (disturbance{}).unsealed(); !errors.Is(err, errBlind) {
		t.Errorf("without a share that reached it: %v, want errBlind", err)
	}
}

func TestAnswerTo(t *testing.T) {
	for name, c := range map[string]struct {
		status           *api.SealStatusResponse
		err              error
		answered, sealed bool
	}{
		"taken":               {&api.SealStatusResponse{Sealed: true, Progress: 1}, nil, true, true},
		"completed a set":     {nil, &api.ResponseError{StatusCode: http.StatusBadRequest}, true, true},
		"open already":        {&api.SealStatusResponse{}, nil, true, false},
		"an inner error":      {nil, &api.ResponseError{StatusCode: http.StatusInternalServerError}, true, false},
		"nobody listens":      {nil, errors.New("connection refused"), false, false},
		"gave up":             {nil, context.Canceled, false, false},
		"an answer of naught": {nil, nil, false, false},
	} {
		p, answered := answerTo(c.status, c.err)
		if answered != c.answered || p.sealed != c.sealed {
			t.Errorf("%s: answered %t, sealed %t; want %t, %t", name, answered, p.sealed, c.answered, c.sealed)
		}
	}
}
