package provision

import (
	"encoding/json"
	"math"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
)

func TestJudge(t *testing.T) {
	good := func() map[string]any {
		return map[string]any{"ttl": json.Number("3600"), "period": json.Number("86400"), "orphan": true,
			"policies": []any{"provisioner"}, "creation_time": json.Number("1700000000")}
	}
	tests := map[string]struct {
		change func(map[string]any)
		alive  bool
		fails  bool
	}{
		"good":             {func(map[string]any) {}, true, false},
		"not an orphan":    {func(m map[string]any) { m["orphan"] = false }, false, false},
		"orphan unknown":   {func(m map[string]any) { delete(m, "orphan") }, false, false},
		"not periodic":     {func(m map[string]any) { delete(m, "period") }, false, false},
		"period of zero":   {func(m map[string]any) { m["period"] = json.Number("0") }, false, false},
		"another kind":     {func(m map[string]any) { m["policies"] = []any{"handover"} }, false, false},
		"other policies":   {func(m map[string]any) { m["policies"] = []any{"root"} }, false, false},
		"period no number": {func(m map[string]any) { m["period"] = true }, false, true},
		"made at no time":  {func(m map[string]any) { delete(m, "creation_time") }, false, true},
		"ttl no number":    {func(m map[string]any) { m["ttl"] = "soon" }, false, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			data := good()
			tt.change(data)
			got, err := judge(provisioner, &api.Secret{Data: data})
			if got.alive != tt.alive || (err != nil) != tt.fails {
				t.Errorf("alive %t, error %v", got.alive, err)
			}
		})
	}
	if _, err := judge(provisioner, nil); err == nil {
		t.Error("an empty answer was judged")
	}
}

func TestDue(t *testing.T) {
	tests := map[string]struct{ ttl, period, want time.Duration }{
		"fresh":           {24 * time.Hour, 24 * time.Hour, 8 * time.Hour},
		"a third used up": {16 * time.Hour, 24 * time.Hour, 0},
		"nearly dead":     {time.Minute, 24 * time.Hour, 0},
		"short period":    {60 * time.Second, 60 * time.Second, 20 * time.Second},
	}
	for name, tt := range tests {
		if got := (token{ttl: tt.ttl, period: tt.period}).due(); got != tt.want {
			t.Errorf("%s: due in %s, want %s", name, got, tt.want)
		}
	}
}

func TestOld(t *testing.T) {
	now := time.Unix(1700000000, 0)
	made := token{made: now.Add(-time.Hour)}
	for maxAge, want := range map[time.Duration]time.Duration{
		0: math.MaxInt64, time.Minute: 0, time.Hour: 0, 3 * time.Hour: 2 * time.Hour,
	} {
		if got := made.old(maxAge, now); got != want {
			t.Errorf("with a greatest age of %s it is to be replaced in %s, want %s", maxAge, got, want)
		}
	}
}

func TestAuditName(t *testing.T) {
	for file, want := range map[string]string{"/vault/audit/audit.log": "file-audit", "stdout": "file-stdout"} {
		if got := auditName(file); got != want {
			t.Errorf("%s is mounted as %s, want %s", file, got, want)
		}
	}
}
