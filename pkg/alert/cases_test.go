package alert

import (
	"strings"
	"testing"
)

func TestEveryStockRuleIsProved(t *testing.T) {
	rules, err := Stock()
	if err != nil {
		t.Fatal(err)
	}
	cases, err := StockCases()
	if err != nil {
		t.Fatal(err)
	}
	if err := Prove(t.Context(), rules, cases); err != nil {
		t.Error(err)
	}
}

const down = `groups: [{name: g, rules: [{alert: Down, expr: x == 0, for: 30s}]}]`

func TestProveFindsRulesThatAreWrong(t *testing.T) {
	const both = `{interval: 15s, cases: [{name: goes, alert: Down, series: {x: 1x2 0x4}, fires: 1m15s}, {name: stays, alert: Down, series: {x: 1x9}}]}`
	for name, c := range map[string]struct{ rules, cases, want string }{
		"right":            {down, both, ""},
		"fires too soon":   {strings.Replace(down, "30s", "0s", 1), both, "it fires after 45s, want 1m15s"},
		"fires too late":   {strings.Replace(down, "30s", "45s", 1), both, "it fires after 1m30s, want 1m15s"},
		"never fires":      {strings.Replace(down, "x == 0", "x == 2", 1), both, "it never fires, want it after 1m15s"},
		"fires when well":  {strings.Replace(down, "x == 0", "x < 2", 1), both, `case "stays": it fires after 30s with map[], want it silent`},
		"no silent case":   {down, `{interval: 15s, cases: [{name: goes, alert: Down, series: {x: 1x2 0x4}, fires: 1m15s}]}`, "a case fires: true, a case stays silent: false"},
		"no case":          {down, `{interval: 15s}`, "a case fires: false"},
		"of another alert": {down, strings.Replace(both, "alert: Down", "alert: Up", 1), "alert Up, which is no rule"},
		"no such series":   {down, strings.Replace(both, "1x9", "1y9", 1), `with the values "1y9"`},
		"no such duration": {down, strings.Replace(both, "1m15s", "soon", 1), `"soon" is no duration`},
	} {
		rules, err := Parse([]byte(c.rules))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		cases, err := ParseCases([]byte(c.cases))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		err = Prove(t.Context(), rules, cases)
		if (c.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", name, err, c.want)
		}
	}
}
