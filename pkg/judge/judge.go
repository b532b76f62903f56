package judge

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/vaultproof/vaultproof/pkg/history"
	"github.com/vaultproof/vaultproof/pkg/report"
)

// Judgement is what a run came to.
type Judgement struct {
	// Verdict is NotCertified if a promise was broken, else Inconclusive if
	// there are Gaps, else Certified.
	Verdict report.Verdict
	// Gaps say why the run does not prove what it should.
	Gaps []string
	// Promises are all that were judged, or could have been.
	Promises []Promise
	// Losses are the acknowledged writes that were lost.
	Losses []history.Loss
	// Linear is porcupine's verdict; it can draw the key that broke.
	Linear history.Result
}

// Promise is something that Vault promises its clients.
type Promise struct {
	// ID names what breaks it, for measurements: lost_writes.
	ID string
	// Text is the promise, in a few words.
	Text string
	// Judged is how many things it was judged by, Of what kind they are. Nothing
	// to judge breaks no promise, and proves none.
	Judged int
	Of     string
	// Broken says how it was broken, each time.
	Broken []string
}

// Judge judges a run. First comes whether enough happened for a judgement to
// mean something. The deadline of ctx bounds the search for a linear order;
// what is not decided by then is a gap.
func Judge(ctx context.Context, run Run) Judgement {
	var j Judgement
	j.Gaps = gaps(run)
	j.writes(run)
	j.order(ctx, run)
	j.grants(run)
	j.cluster(run)
	switch {
	case len(j.Broken()) > 0:
		j.Verdict = report.NotCertified
	case len(j.Gaps) > 0:
		j.Verdict = report.VerdictInconclusive
	default:
		j.Verdict = report.Certified
	}
	return j
}

// Broken are the promises that were broken.
func (j Judgement) Broken() []Promise {
	var broken []Promise
	for _, p := range j.Promises {
		if len(p.Broken) > 0 {
			broken = append(broken, p)
		}
	}
	return broken
}

// Draw draws the key that has no linear order as a page in a directory, and
// gives its path; it is empty if every key has one.
func (j Judgement) Draw(dir string) (string, error) {
	if j.Linear.Verdict != history.Violation {
		return "", nil
	}
	path := filepath.Join(dir, history.PictureFile)
	return path, j.Linear.Visualize(path)
}

func (j *Judgement) gap(format string, args ...any) {
	j.Gaps = append(j.Gaps, fmt.Sprintf(format, args...))
}

func (j *Judgement) promise(p Promise, found []history.Finding) {
	for _, f := range found {
		p.Broken = append(p.Broken, f.Text)
	}
	j.Promises = append(j.Promises, p)
}

// writes judges what was acknowledged against what was there at the end.
func (j *Judgement) writes(run Run) {
	kept := Promise{ID: "lost_writes", Text: "what was acknowledged is there at the end", Of: "acknowledged writes and entries"}
	none := Promise{ID: "invented_entries", Text: "a journal holds nothing that nobody appended", Of: "entries"}
	acknowledged := count(run.Ops, history.OK, history.Write, history.Append)
	switch {
	case acknowledged == 0:
		j.gap("not one write was acknowledged, so none could be lost")
	case run.Final == nil:
		j.gap("the last state of the keys was never read, so that nothing tells whether acknowledged writes were lost")
	default:
		kept.Judged = acknowledged
		j.Losses = history.Lost(run.Ops, *run.Final)
		for _, l := range j.Losses {
			kept.Broken = append(kept.Broken, l.String())
		}
	}
	j.promise(kept, nil)
	if run.Final == nil {
		return
	}
	for _, entries := range run.Final.Journals {
		none.Judged += len(entries)
	}
	found, err := history.Invented(run.Ops, run.Final.Journals)
	if err != nil {
		j.gap("%v", err)
	}
	j.promise(none, found)
}

// order judges the order of reads and writes.
func (j *Judgement) order(ctx context.Context, run Run) {
	linear := Promise{ID: "linear_violations", Text: "reads and writes of a key have one linear order", Of: "operations on keys"}
	var err error
	j.Linear, err = history.Linearizable(ctx, run.Ops)
	switch {
	case err != nil:
		j.gap("%v", err)
	case j.Linear.Verdict == history.Undecided:
		j.gap("%s", j.Linear.Info)
	case j.Linear.Verdict == history.Violation:
		linear.Broken = []string{j.Linear.Info + ", drawn in " + history.PictureFile}
	}
	linear.Judged = j.Linear.Ops
	j.promise(linear, nil)
	j.promise(Promise{
		ID: "stale_reads", Text: "no read is older than what was known before it", Of: "reads", Judged: count(run.Ops, history.OK, history.Read),
	}, history.Stale(run.Ops, run.Events))
}

// grants judges what was encrypted, and tokens and leases.
func (j *Judgement) grants(run Run) {
	j.promise(Promise{
		ID: "wrong_plaintexts", Text: "what was encrypted comes back", Of: "decryptions", Judged: count(run.Ops, history.OK, history.Decrypt),
	}, history.Undecryptable(run.Ops))
	j.promise(Promise{
		ID: "lost_grants", Text: "tokens and leases last until they expire or are revoked", Of: "tokens and leases",
		Judged: count(run.Ops, history.OK, history.Issue),
	}, history.Gone(run.Ops))
	j.promise(Promise{
		ID: "undead_grants", Text: "tokens and leases that were revoked stay so", Of: "revoked ones", Judged: count(run.Ops, history.OK, history.Revoke),
	}, history.Undead(run.Ops))
}

// cluster judges what pods said of themselves.
func (j *Judgement) cluster(run Run) {
	one, told := history.Clusters(run.Events)
	j.promise(Promise{ID: "other_clusters", Text: "there is one cluster_id over the whole run", Of: "answers", Judged: told}, one)
	back, told := history.Indexes(run.Events)
	j.promise(Promise{ID: "index_regressions", Text: "the raft index of a pod never goes back", Of: "answers", Judged: told}, back)
	back, told = history.Terms(run.Events)
	j.promise(Promise{ID: "term_regressions", Text: "the raft term never goes back", Of: "answers", Judged: told}, back)
}

// count counts the operations of some kinds with an outcome.
func count(ops []history.Op, outcome history.Outcome, kinds ...history.Kind) int {
	n := 0
	for i := range ops {
		for _, kind := range kinds {
			if ops[i].Outcome == outcome && ops[i].Kind == kind {
				n++
			}
		}
	}
	return n
}
