package alert

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// replayed runs one rule over series given as in cases, every 15 s, and tells what
// fired: its labels, from and to in seconds ("-" if it goes on).
func replayed(t *testing.T, rule string, series map[string]string) (string, error) {
	t.Helper()
	rules, err := Parse([]byte(`groups: [{name: g, rules: [` + rule + `]}]`))
	if err != nil {
		t.Fatal(err)
	}
	every := 15 * time.Second
	values, end, err := Case{Series: series}.series(every)
	if err != nil {
		t.Fatal(err)
	}
	fired, err := Replay(t.Context(), rules, values, Span{From: beginning, To: end, Every: every})
	var words []string
	for _, f := range fired {
		until := "-"
		if !f.Until.IsZero() {
			until = fmt.Sprint(f.Until.Sub(beginning).Seconds())
		}
		words = append(words, fmt.Sprintf("%s%s %v+%v to %s", f.Alert, f.Labels["pod"], f.Since.Sub(beginning).Seconds(), f.At.Sub(f.Since).Seconds(), until))
	}
	return strings.Join(words, "; "), err
}

func TestReplay(t *testing.T) {
	const down = `{alert: Down, expr: x == 0, for: 30s, labels: {severity: page}}`
	for name, c := range map[string]struct {
		rule   string
		series map[string]string
		want   string
	}{
		"well":                       {down, map[string]string{"x": "1x9"}, ""},
		"down for good":              {down, map[string]string{"x": "1x2 0x9"}, "Down 45+30 to -"},
		"down and up":                {down, map[string]string{"x": "1x2 0x4 1x4"}, "Down 45+30 to 120"},
		"too short":                  {down, map[string]string{"x": "1x2 0x1 1x4"}, ""},
		"twice too short":            {down, map[string]string{"x": "1x2 0 0 1 0 0 1x4"}, ""},
		"twice":                      {down, map[string]string{"x": "0x2 1 0x2 1"}, "Down 0+30 to 45; Down 60+30 to 105"},
		"two pods":                   {down, map[string]string{`x{pod="a"}`: "0x4", `x{pod="b"}`: "1 0x3"}, "Downa 0+30 to -; Downb 15+30 to -"},
		"a target that ends":         {down, map[string]string{"x": "0x3 stale _x3"}, "Down 0+30 to 60"},
		"scrapes that are missing":   {down, map[string]string{"x": "1 0 _x4 0"}, "Down 15+30 to -"},
		"it goes on firing a while":  {`{alert: Down, expr: x == 0, keep_firing_for: 30s}`, map[string]string{"x": "0 1x5"}, "Down 0+0 to 45"},
		"and again in between":       {`{alert: Down, expr: x == 0, keep_firing_for: 30s}`, map[string]string{"x": "0 1 0 1x5"}, "Down 0+0 to 75"},
		"a counter that moves":       {`{alert: Up, expr: 'increase(x_total[1m]) > 0'}`, map[string]string{"x_total": "5x3 6x9"}, "Up 60+0 to 105"},
		"a counter that was reset":   {`{alert: Up, expr: 'increase(x_total[1m]) > 9'}`, map[string]string{"x_total": "50x3 1x9"}, ""},
		"absence":                    {`{alert: Gone, expr: absent(y)}`, map[string]string{"x": "1x2"}, "Gone 0+0 to -"},
		"one side of a join is gone": {`{alert: J, expr: 'x == 0 and on (pod) y == 1'}`, map[string]string{`x{pod="a"}`: "0x4", `y{pod="b"}`: "1x4"}, ""},
	} {
		got, err := replayed(t, c.rule, c.series)
		if err != nil || got != c.want {
			t.Errorf("%s: %q, error %v, want %q", name, got, err, c.want)
		}
	}
}

func TestReplayFailsAsPrometheusWould(t *testing.T) {
	for name, c := range map[string]struct {
		rule   string
		series map[string]string
		want   string
	}{
		"many to many": {`{alert: J, expr: 'x == on (job) y'}`, map[string]string{`x{job="j",pod="a"}`: "0x4", `y{job="j",pod="a"}`: "0x4", `y{job="j",pod="b"}`: "0x4"}, "many-to-many|found duplicate series"},
		"twins":        {`{alert: T, expr: '{__name__=~"x|y"} == 0'}`, map[string]string{"x": "0x4", "y": "0x4"}, "two series with the labels"},
	} {
		_, err := replayed(t, c.rule, c.series)
		ok := err != nil
		if ok {
			ok = false
			for _, want := range strings.Split(c.want, "|") {
				ok = ok || strings.Contains(err.Error(), want)
			}
		}
		if !ok {
			t.Errorf("%s: error %v, want %q", name, err, c.want)
		}
	}
}
