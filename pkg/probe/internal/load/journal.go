package load

import (
	"context"
	"strconv"

	"github.com/vaultproof/vaultproof/pkg/history"
)

// journalLength is how many entries a journal takes: its list then still is one
// short answer.
const journalLength = 1000

// journals are folders to which entries are added, one path each, which must not
// exist before. Nothing is ever taken away.
type journals struct {
	*stream
	names   []string
	entries int // in the last journal
}

func newJournals(s *stream) *journals {
	j := &journals{stream: s}
	j.open()
	return j
}

// open begins a new journal.
func (j *journals) open() {
	j.names, j.entries = append(j.names, j.key("journal-"+strconv.Itoa(len(j.names)))), 0
}

func (j *journals) next() task {
	if j.entries == journalLength {
		j.open()
	}
	j.entries++
	op := history.Op{Kind: history.Append, Key: j.names[len(j.names)-1], Value: j.load.value()}
	return task{op: op, do: func(ctx context.Context, t turn) history.Outcome {
		op := t.begin(op)
		j.client.write(ctx, op.Key+"/"+op.Value, op.Value, 0).into(&op)
		op.Version = 0 // an entry has none
		t.end(op, false)
		return op.Outcome
	}}
}

func (j *journals) final(ctx context.Context, final *history.Final) error {
	for _, name := range j.names {
		err := j.load.insist(ctx, name, func(ctx context.Context) reply {
			entries, got := j.client.list(ctx, name)
			if got.outcome == history.OK {
				final.Journals[name] = append([]string{}, entries...)
			}
			return got
		})
		if err != nil {
			return err
		}
	}
	return nil
}
