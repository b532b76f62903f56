package fence

import (
	"context"
	"log/slog"
	"maps"
	"time"

	"github.com/vaultproof/vaultproof/bootstrap/registrar"
)

// carrier remembers what is known of the own pod's labels in the API server.
// Of Run's goroutine alone.
type carrier struct {
	active string            // vault-active as it was last put or found right; "" if never
	have   map[string]string // as last read or written
	since  time.Time         // when the first of those that wait began to
}

// seen takes the own pod as it was read.
func (k *carrier) seen(own seen) {
	if own.err == nil {
		k.have = map[string]string{}
		maps.Copy(k.have, own.pod.Labels)
	}
}

// others adds what Vault's registration wants of the own pod beside
// vault-active. That label goes first, and alone: the others are for people, and
// must not hold it up, whatever becomes of them.
func (f *Fence) others(changes []change, pods map[string]seen, said registrar.Said) []change {
	own, read := pods[f.o.Pod]
	if !read || own.err != nil {
		return changes
	}
	for _, c := range changes {
		if c.pod.Name == f.o.Pod {
			return changes
		}
	}
	to := map[string]string{}
	for key, want := range said.Labels {
		if key != Label && own.pod.Labels[key] != want {
			to[key] = want
		}
	}
	if len(to) == 0 {
		return changes
	}
	return append(changes, change{own.pod, to})
}

// carried keeps note of what was written to the own pod, and tells whether Vault
// had it announced: a label that was right before and is written again is not.
func (f *Fence) carried(c change) bool {
	if f.o.Registration == nil || c.pod.Name != f.o.Pod {
		return false
	}
	maps.Copy(f.carrier.have, c.to)
	to, active := c.to[Label]
	if active && to == f.carrier.active {
		return false
	}
	if active {
		f.carrier.active = to
	}
	return true
}

// tell shows which labels of the own pod wait to be carried. active is what
// vault-active should be, if that is known.
func (f *Fence) tell(active string, said registrar.Said) {
	if f.o.Registration == nil {
		return
	}
	k := &f.carrier
	want := said.Labels
	delete(want, Label)
	if active != "" {
		want[Label] = active
	}
	maps.DeleteFunc(want, func(key, value string) bool { return k.have[key] == value })
	switch {
	case len(want) == 0:
		k.since = time.Time{}
		f.o.Registration.Carried(said.Seq)
	case k.since.IsZero():
		k.since = time.Now()
	}
	f.o.Board.LabelsPending(want, k.since)
}

// published logs what Vault announced and the API server now has.
func (f *Fence) published(ctx context.Context, c change, e evidence) {
	told := []any{"pod", c.pod.Name, "labels", c.to}
	if _, active := c.to[Label]; active {
		told = append(told, "evidence", e.text, "waitedMs", time.Since(f.wrongSince[c.pod.Name]).Milliseconds())
		delete(f.wrongSince, c.pod.Name)
	}
	f.o.Log.Log(ctx, slog.LevelInfo, "labels of this Vault published", told...)
}
