package tenancy

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/vaultproof/vaultproof/pkg/probe"
	"github.com/vaultproof/vaultproof/pkg/terraform"
)

func TestAnApplyMeetsAnOutage(t *testing.T) {
	at := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	window := func(from, to, failed int) probe.Window {
		return probe.Window{Start: at.Add(time.Duration(from) * time.Second), End: at.Add(time.Duration(to) * time.Second), Failed: failed}
	}
	a := apply{began: at.Add(10 * time.Second), ended: at.Add(15 * time.Second)}
	for name, c := range map[string]struct {
		outage probe.Window
		want   bool
	}{
		"in the midst":    {window(12, 14, 3), true},
		"to the end":      {window(14, 18, 3), true},
		"over before":     {window(5, 9, 3), false},
		"begins after":    {window(16, 18, 3), false},
		"nobody suffered": {probe.Window{}, false},
	} {
		if got := a.met(c.outage); got != c.want {
			t.Errorf("%s: %t, want %t", name, got, c.want)
		}
	}
}

func TestConverged(t *testing.T) {
	cut := apply{ended: time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC), err: errors.New("EOF")}
	left := []terraform.Change{{Address: "vault_policy.app", Actions: []string{"create"}}}
	for name, c := range map[string]struct {
		cut   apply
		again error
		left  []terraform.Change
		want  string
	}{
		"completed":         {cut, nil, nil, ""},
		"never interrupted": {apply{}, nil, nil, ""},
		"stuck":             {cut, errors.New("path is already in use"), nil, "ended at 12:00:00.000 in failure (EOF), and the next one failed: path is already in use"},
		"half of it":        {cut, nil, left, "a plan would still create vault_policy.app; want nothing to be left"},
		"lost on success":   {apply{}, nil, left, "in success all the same"},
	} {
		err := converged(c.cut, c.again, c.left)
		if (c.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}
