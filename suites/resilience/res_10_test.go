package resilience

import (
	"strings"
	"testing"
	"time"

	"github.com/vaultproof/vaultproof/pkg/history"
)

func TestNothingLost(t *testing.T) {
	if err := nothingLost(nil, 10); err != nil {
		t.Error(err)
	}
	losses := []history.Loss{{Key: "a", Version: 3, Reason: "it is at version 2"}, {Key: "b"}, {Key: "c"}, {Key: "d"}}
	err := nothingLost(losses, 10)
	if err == nil || !strings.Contains(err.Error(), "4 of 10 acknowledged writes are lost") || !strings.Contains(err.Error(), "key a, version 3: it is at version 2") {
		t.Errorf("losses: %v", err)
	}
}

func TestALostWriteIsFoundAndDated(t *testing.T) {
	at := time.Unix(100, 0)
	ops := []history.Op{
		{Kind: history.Write, Key: "a", Value: "1", Version: 1, Outcome: history.OK, Call: at.UnixNano() - 5, Return: at.UnixNano()},
		{Kind: history.Read, Key: "a", Value: "1", Version: 1, Outcome: history.OK, Call: at.UnixNano(), Return: at.UnixNano()},
	}
	if n := writes(ops); n != 1 {
		t.Errorf("%d acknowledged writes, want 1", n)
	}
	losses := history.Lost(ops, nil)
	if len(losses) != 1 {
		t.Fatalf("losses %v, want one: the key is gone", losses)
	}
	if times := lostAt(ops, losses); len(times) != 1 || !times[0].Equal(at) {
		t.Errorf("acknowledged at %v, want %v", times, at)
	}
}

func TestNextFault(t *testing.T) {
	faults := []time.Time{time.Unix(10, 0), time.Unix(20, 0)}
	for at, want := range map[int64]int{5: 0, 15: 1, 25: 1} {
		if got := nextFault(faults, time.Unix(at, 0)); got != want {
			t.Errorf("a write at %d is blamed on fault %d, want %d", at, got, want)
		}
	}
	if got := nextFault(nil, time.Now()); got != -1 {
		t.Errorf("without faults: %d", got)
	}
}
