package fault

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"
)

const schedulers = `[{"kind":"noqueue","root":true},{"kind":"tbf","handle":"1:","options":{"rate":1000000},"bytes":900,"packets":12,"drops":0,"overlimits":5,"qlen":0}]`

func TestSchedulerOf(t *testing.T) {
	if s, err := schedulerOf(schedulers, schedulerRate); err != nil || s.Packets != 12 || s.Overlimits != 5 {
		t.Errorf("scheduler %+v (%v)", s, err)
	}
	if s, err := schedulerOf(schedulers, schedulerDelay); err != nil || s.there() {
		t.Errorf("a scheduler that is not there: %+v (%v)", s, err)
	}
	if _, err := schedulerOf("Error: Specified qdisc kind is unknown.", schedulerRate); err == nil {
		t.Error("an error of tc is taken for a list")
	}
}

func TestHeldBack(t *testing.T) {
	reading := func(packets, overlimits uint64) scheduler {
		return scheduler{Kind: "one", Packets: packets, Overlimits: overlimits}
	}
	for name, c := range map[string]struct {
		first, now scheduler
		kind       string
		want       bool
		says       string
	}{
		"limited":             {reading(10, 5), reading(90, 40), schedulerRate, true, "from 5 to 40 packets that had to wait"},
		"nothing had to wait": {reading(10, 5), reading(90, 5), schedulerRate, false, "from 5 to 5"},
		"delayed":             {reading(10, 0), reading(11, 0), schedulerDelay, true, "from 10 to 11 packets"},
		"nothing was sent":    {reading(10, 0), reading(10, 0), schedulerDelay, false, "from 10 to 10"},
		"it is not there":     {scheduler{}, scheduler{}, schedulerRate, false, "there is no packet scheduler tbf"},
	} {
		evidence, got := heldBack(c.first, c.now, c.kind)
		if got != c.want || !strings.Contains(evidence, c.says) {
			t.Errorf("%s: witness %v (%s), want %v with %q", name, got, evidence, c.want, c.says)
		}
	}
}

func TestSlowNetworkObjects(t *testing.T) {
	env := &Env{Namespace: "vault", RunID: "r"}
	limited := (&SlowNetwork{Env: env, Pod: "vault-0", Rate: 1 << 20, Duration: time.Minute}).object().Spec
	if limited.Action != v1alpha1.BandwidthAction || limited.Bandwidth.Rate != "1048576bps" || limited.Bandwidth.Limit != 1<<20 || limited.Delay != nil {
		t.Errorf("limit %+v", limited.TcParameter)
	}
	delayed := (&SlowNetwork{Env: env, Pod: "vault-0", Delay: 30 * time.Millisecond, Duration: time.Minute}).object().Spec
	if delayed.Action != v1alpha1.DelayAction || delayed.Delay.Latency != "30000us" || delayed.Bandwidth != nil {
		t.Errorf("delay %+v", delayed.TcParameter)
	}
	for _, neither := range []*SlowNetwork{{Env: env}, {Env: env, Rate: 1, Delay: 1}} {
		if _, err := neither.Inject(t.Context()); !errors.Is(err, ErrUnavailable) {
			t.Errorf("%+v: %v, want ErrUnavailable", neither, err)
		}
	}
}
