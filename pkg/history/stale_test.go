package history

import (
	"testing"
	"time"

	"github.com/vaultproof/vaultproof/pkg/timeline"
)

func event(kind timeline.Kind, pod, value string, at int64) timeline.Event {
	return timeline.Event{Kind: kind, Subject: pod, Value: value, At: time.Unix(0, at*ms)}
}

func TestStale(t *testing.T) {
	ops := []Op{write("a", 0, 1, 0, 1, OK), write("b", 1, 2, 20, 22, OK)}
	with := func(op Op) []Op { return append(ops[:2:2], op) }
	// vault-1 was cut off, and vault-0 took over.
	events := []timeline.Event{
		event(timeline.Leader, "vault-1", "active", -50), event(timeline.Leader, "vault-0", "standby", -50),
		event(timeline.Leader, "vault-1", "unreachable", 5), event(timeline.Leader, "vault-0", "active", 15),
	}
	const stale = "a read of k answered by vault-1 at 00:00:00.040 gave version 1, though vault-0 had answered a write with version 2 8ms before it was called; "
	for name, c := range map[string]struct {
		ops    []Op
		events []timeline.Event
		want   string
	}{
		"fresh":                 {with(read("b", 2, 30, 40)), events, ""},
		"while writing":         {with(read("a", 1, 21, 40)), events, ""},
		"by one cut off":        {with(read("a", 1, 30, 40)), events, stale + "by its own word it was unreachable since 00:00:00.005, and vault-0 was active since 00:00:00.015"},
		"by one still active":   {with(read("a", 1, 30, 40)), events[:1], stale + "by its own word it was active since 23:59:59.950, and nobody else was active"},
		"nobody asked the pods": {with(read("a", 1, 30, 40)), nil, stale + "nothing tells what it was then, and nobody else was active"},
		"a read without answer": {with(Op{Kind: Read, Key: "k", Call: 30 * ms, Return: 40 * ms, Outcome: Unknown}), events, ""},
		"older than a read":     {append(with(read("b", 2, 21, 22)), read("a", 1, 30, 40))[2:], events, "vault-1 had answered a read with version 2"},
		"gone":                  {with(read("", 0, 30, 40)), events, "gave version 0, though vault-0"},
	} {
		checkFinding(t, name, Stale(c.ops, c.events), c.want)
	}
}

func TestOneCluster(t *testing.T) {
	one := []timeline.Event{event(timeline.Cluster, "vault-0", "c1", 0), event(timeline.Cluster, "vault-1", "c1", 1), event(timeline.Cluster, "vault-1", "", 2)}
	found, seen := Clusters(one)
	checkFinding(t, "one cluster", found, "")
	if seen != 2 {
		t.Errorf("seen %d answers, want 2", seen)
	}
	found, _ = Clusters(append(one, event(timeline.Cluster, "vault-2", "c2", 5)))
	checkFinding(t, "two clusters", found, "named 2 cluster ids, want one over the whole run: c1 by vault-0 from 00:00:00.000 on, c2 by vault-2 from 00:00:00.005 on")
	if _, seen := Clusters(nil); seen != 0 {
		t.Errorf("seen %d answers where there are none", seen)
	}
}

func TestRaftGoesForward(t *testing.T) {
	good := []timeline.Event{
		event(timeline.Index, "vault-0", "10", 0), event(timeline.Index, "vault-1", "7", 1), event(timeline.Index, "vault-0", "10", 2),
		event(timeline.Index, "vault-1", "none", 3), event(timeline.Index, "vault-1", "9", 4),
	}
	found, seen := Indexes(good)
	checkFinding(t, "forward", found, "")
	if seen != 4 {
		t.Errorf("seen %d answers, want 4", seen)
	}
	found, _ = Indexes(append(good, event(timeline.Index, "vault-1", "8", 5), event(timeline.Index, "vault-1", "9", 6)))
	checkFinding(t, "back", found, "the raft index that vault-1 has applied went back from 9 (00:00:00.004) to 8 (00:00:00.005)")
	found, _ = Terms([]timeline.Event{event(timeline.Term, "vault-0", "4", 9), event(timeline.Term, "vault-0", "5", 3), event(timeline.Term, "vault-1", "1", 10)})
	checkFinding(t, "an earlier term", found, "the raft term of vault-0 went back from 5 (00:00:00.003) to 4 (00:00:00.009)")
}
