package history

import (
	"cmp"
	"fmt"
	"slices"
)

// Gone finds tokens and leases that were lost before their time: Vault had
// acknowledged the Issue, and said for certain that they do not exist, before
// they expired and before anybody called to revoke them. A renewal that is OK
// moves the expiry; it never brings it forward.
func Gone(ops []Op) []Finding {
	var found []Finding
	for _, g := range grants(ops) {
		revoked := int64(0)
		for _, op := range g {
			if op.Kind == Revoke && (revoked == 0 || op.Call < revoked) {
				revoked = op.Call
			}
		}
		var issue *Op
		expires := int64(0)
		for _, op := range g {
			switch {
			case op.Outcome == OK && op.Kind != Revoke:
				if op.Kind == Issue {
					issue = op
				}
				expires = max(expires, op.Expires)
			case issue != nil && op.Denied && op.Call > issue.Return && op.Return < expires && (revoked == 0 || op.Return < revoked):
				found = append(found, Finding{Key: op.Key, At: instant(op.Return), Text: fmt.Sprintf(
					"%s, issued by %s at %s, does not exist any more, says %s at %s, %s before it expires: %s", op.Key,
					podName(issue.Pod), clock(issue.Return), podName(op.Pod), clock(op.Return), gap(expires-op.Return), op.Error)})
			}
		}
	}
	return sortFindings(found)
}

// Undead finds tokens and leases that live on though Vault acknowledged that
// they are revoked: a Use that was called after that is OK.
func Undead(ops []Op) []Finding {
	var found []Finding
	for _, g := range grants(ops) {
		var revoke *Op // the first that was acknowledged
		for _, op := range g {
			if op.Kind == Revoke && op.Outcome == OK && (revoke == nil || op.Return < revoke.Return) {
				revoke = op
			}
		}
		for _, op := range g {
			if revoke != nil && op.Kind == Use && op.Outcome == OK && op.Call > revoke.Return {
				found = append(found, Finding{Key: op.Key, At: instant(op.Return), Text: fmt.Sprintf(
					"%s lives on by the answer of %s at %s, to a question put %s after %s had acknowledged that it is revoked", op.Key,
					podName(op.Pod), clock(op.Return), gap(op.Call-revoke.Return), podName(revoke.Pod))})
			}
		}
	}
	return sortFindings(found)
}

// grants are the operations on each token and lease, by when they ended.
func grants(ops []Op) [][]*Op {
	var all [][]*Op
	for _, positions := range byKey(ops, func(op Op) bool { return op.Kind == Issue || op.Kind == Use || op.Kind == Revoke }) {
		var g []*Op
		for _, p := range positions {
			g = append(g, &ops[p])
		}
		slices.SortStableFunc(g, func(a, b *Op) int { return cmp.Compare(a.Return, b.Return) })
		all = append(all, g)
	}
	return all
}
