package load

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/vaultproof/vaultproof/pkg/history"
)

const (
	// grantsAlive is how many tokens or leases live at a time at most; half of that
	// many are made before the first is revoked.
	grantsAlive = 20
	// grantsEnded is how many that were revoked are remembered, to see that they
	// stay so.
	grantsEnded = 20
	// grantLife is for how long each is granted: longer than any fault lasts. One
	// that was made an hour ago and is renewed is still there.
	grantLife = 30 * time.Minute
)

// grantor is how Vault gives and takes one kind of thing.
type grantor interface {
	// name is the first part of what we call them.
	name() string
	// issue gives its id as the reply's value.
	issue(ctx context.Context) reply
	// use looks at it, or renews it where that can be done: the reply then says how
	// long it lasts.
	use(ctx context.Context, id string, renew bool) reply
	revoke(ctx context.Context, id string) reply
}

// grants are tokens or leases. Each is in the hands of one operation at a time.
type grants struct {
	*stream
	grantor grantor
	count   int // arrivals so far
	issued  int // and how many were given a name

	mu    sync.Mutex
	alive []grant
	ended []grant // revoked, and Vault said so
}

// grant is one token or lease.
type grant struct {
	name string // ours
	id   string // Vault's, a secret
}

func newGrants(s *stream, g grantor) *grants { return &grants{stream: s, grantor: g} }

// next goes round: use, revoke, use one that was revoked, use, make a new one. What
// is not possible yet is a new one in its place, or a use.
func (g *grants) next() task {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.alive) == 0 || g.issued < grantsAlive/2 {
		return g.issue()
	}
	g.count++
	switch g.count % 5 {
	case 1:
		if len(g.alive) >= grantsAlive/2 {
			return g.revoke(g.take(&g.alive))
		}
	case 2:
		if len(g.ended) > 0 {
			return g.use(g.take(&g.ended), &g.ended)
		}
	case 4:
		if len(g.alive) < grantsAlive {
			return g.issue()
		}
	}
	return g.use(g.take(&g.alive), &g.alive)
}

// take takes any one out of a list that is not empty.
func (g *grants) take(from *[]grant) grant {
	list := *from
	i, last := g.rng.IntN(len(list)), len(list)-1
	one := list[i]
	list[i] = list[last]
	*from = list[:last]
	return one
}

// put adds one to a list. Of the revoked ones, the oldest are forgotten.
func (g *grants) put(one grant, to *[]grant) {
	g.mu.Lock()
	defer g.mu.Unlock()
	*to = append(*to, one)
	if to == &g.ended && len(g.ended) > grantsEnded {
		g.ended = g.ended[1:]
	}
}

func (g *grants) issue() task {
	g.issued++
	// A slash is what the ids of leases have.
	name := strings.ReplaceAll(g.key(fmt.Sprintf("%s-%d", g.grantor.name(), g.issued)), "/", "-")
	op := history.Op{Kind: history.Issue, Key: name}
	return task{op: op, do: func(ctx context.Context, t turn) history.Outcome {
		op := t.begin(op)
		got := g.grantor.issue(ctx)
		got.into(&op)
		if got.outcome == history.OK {
			op.Expires = expires(op, got)
			g.put(grant{name, got.value}, &g.alive)
		}
		t.end(op, false)
		return op.Outcome
	}}
}

// use uses one and puts it back, unless Vault has lost it. Every other use of a
// living one renews it.
func (g *grants) use(one grant, from *[]grant) task {
	living := from == &g.alive
	renew := living && g.count%2 == 0
	op := history.Op{Kind: history.Use, Key: one.name}
	return task{op: op, drop: func() { g.put(one, from) }, do: func(ctx context.Context, t turn) history.Outcome {
		got := g.look(ctx, t, one, look{renew: renew})
		if !living || !got.denied {
			g.put(one, from)
		}
		return got.outcome
	}}
}

// look is how one is used.
type look struct {
	renew bool
	aux   bool // outside the schedule
}

func (g *grants) look(ctx context.Context, t turn, one grant, how look) reply {
	op := t.begin(history.Op{Kind: history.Use, Key: one.name})
	got := one.hide(g.grantor.use(ctx, one.id, how.renew))
	got.into(&op)
	if got.outcome == history.OK && got.lasts > 0 {
		op.Expires = expires(op, got)
	}
	t.end(op, how.aux)
	return got
}

// hide takes the id out of what Vault says about it.
func (one grant) hide(r reply) reply {
	r.err = strings.ReplaceAll(r.err, one.id, one.name)
	return r
}

// revoke ends one for good. What became of it is not known if there is no answer;
// it is left alone then, and ends with the token of the load.
func (g *grants) revoke(one grant) task {
	op := history.Op{Kind: history.Revoke, Key: one.name}
	return task{op: op, drop: func() { g.put(one, &g.alive) }, do: func(ctx context.Context, t turn) history.Outcome {
		op := t.begin(op)
		got := one.hide(g.grantor.revoke(ctx, one.id))
		got.into(&op)
		switch got.outcome {
		case history.OK:
			g.put(one, &g.ended)
		case history.Fail:
			g.put(one, &g.alive)
		}
		t.end(op, false)
		return op.Outcome
	}}
}

// expires is until when a grant lasts at least: Vault began to count after the
// call.
func expires(op history.Op, r reply) int64 { return op.Call + r.lasts*int64(time.Second) }

// final uses each once more that should be alive, and each that should not.
func (g *grants) final(ctx context.Context, _ *history.Final) error {
	g.mu.Lock()
	all := append(append([]grant{}, g.alive...), g.ended...)
	g.mu.Unlock()
	for _, one := range all {
		err := g.load.insist(ctx, one.name, func(ctx context.Context) reply {
			slot := <-g.slots
			got := g.look(ctx, turn{g.stream, time.Now(), slot}, one, look{aux: true})
			g.slots <- g.successor(slot, got.outcome)
			if got.denied { // an answer as good as any
				got.outcome = history.OK
			}
			return got
		})
		if err != nil {
			return err
		}
	}
	return nil
}
