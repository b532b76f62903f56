package history

import (
	"fmt"
	"slices"
)

// lostEntries finds acknowledged entries that are not in their journal.
func lostEntries(ops []Op, journals map[string][]string) []Loss {
	var losses []Loss
	for name, positions := range byKey(ops, func(op Op) bool { return op.Kind == Append && op.Outcome == OK }) {
		entries, found := journals[name]
		there := make(map[string]bool, len(entries))
		for _, e := range entries {
			there[e] = true
		}
		for _, p := range positions {
			op := &ops[p]
			if there[op.Value] {
				continue
			}
			reason := fmt.Sprintf("acknowledged by %s, and at the end it is not among the %d entries of the journal", podName(op.Pod), len(entries))
			if !found {
				reason = fmt.Sprintf("acknowledged by %s, and the journal could not be read at the end", podName(op.Pod))
			}
			losses = append(losses, Loss{Key: name, At: instant(op.Return), Value: op.Value, Reason: reason})
		}
	}
	return losses
}

// Invented finds entries of journals that no client can have put there: nobody
// appended them, or the append was refused, or they are there twice. An entry
// whose append ended Unknown may be there or not. An error means that the
// history is unfit to be judged: two appends have the same value.
func Invented(ops []Op, journals map[string][]string) ([]Finding, error) {
	appends := byKey(ops, func(op Op) bool { return op.Kind == Append })
	var found []Finding
	for name, entries := range journals {
		if err := distinct(ops, appends[name]); err != nil {
			return nil, err
		}
		by := make(map[string]*Op, len(appends[name]))
		for _, p := range appends[name] {
			by[ops[p].Value] = &ops[p]
		}
		entries = slices.Sorted(slices.Values(entries))
		for i, entry := range entries {
			op, known := by[entry]
			f := Finding{Key: name}
			switch {
			case !known:
				f.Text = fmt.Sprintf("journal %s holds the entry %q, which nobody appended", name, entry)
			case op.Outcome == Fail:
				f.At = instant(op.Return)
				f.Text = fmt.Sprintf("journal %s holds the entry %q, whose append was refused at %s (%s)", name, entry, clock(op.Return), op.Error)
			case i > 0 && entries[i-1] == entry:
				f.At = instant(op.Return)
				f.Text = fmt.Sprintf("journal %s holds the entry %q more than once, which was appended once at %s", name, entry, clock(op.Call))
			default:
				continue
			}
			found = append(found, f)
		}
	}
	return sortFindings(found), nil
}
