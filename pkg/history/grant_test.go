package history

import "testing"

// on makes an operation on token-1; times are in ms.
func on(kind Kind, from, to int64, outcome Outcome) Op {
	return Op{Kind: kind, Key: "token-1", Call: from * ms, Return: to * ms, Outcome: outcome, Pod: "vault-0"}
}

func issued(from, to, expires int64) Op {
	op := on(Issue, from, to, OK)
	op.Expires = expires * ms
	return op
}

func renewed(from, to, expires int64, outcome Outcome) Op {
	op := on(Use, from, to, outcome)
	op.Expires = expires * ms
	return op
}

func denied(from, to int64) Op {
	op := on(Use, from, to, Fail)
	op.Denied, op.Pod, op.Error = true, "vault-1", "bad token"
	return op
}

func TestGoneBeforeItsTime(t *testing.T) {
	const gone = "token-1, issued by vault-0 at 00:00:00.001, does not exist any more, says vault-1"
	for name, c := range map[string]struct {
		ops  []Op
		want string
	}{
		"alive":                            {[]Op{issued(0, 1, 100), on(Use, 10, 11, OK)}, ""},
		"denied while it lasts":            {[]Op{issued(0, 1, 100), denied(10, 11)}, gone + " at 00:00:00.011, 89ms before it expires: bad token"},
		"denied once it expired":           {[]Op{issued(0, 1, 100), denied(99, 101)}, ""},
		"denied, renewed before":           {[]Op{issued(0, 1, 100), renewed(50, 51, 150, OK), denied(110, 111)}, gone},
		"a renewal in doubt counts not":    {[]Op{issued(0, 1, 100), renewed(50, 51, 150, Unknown), denied(110, 111)}, ""},
		"a lookup leaves the expiry alone": {[]Op{issued(0, 1, 100), on(Use, 10, 11, OK), denied(20, 21)}, gone},
		"denied after a revoke":            {[]Op{issued(0, 1, 100), on(Revoke, 5, 6, OK), denied(10, 11)}, ""},
		"denied during a revoke":           {[]Op{issued(0, 1, 100), on(Revoke, 10, 20, Unknown), denied(9, 11)}, ""},
		"denied before a revoke":           {[]Op{issued(0, 1, 100), denied(10, 11), on(Revoke, 20, 21, OK)}, gone},
		"failed, but not denied":           {[]Op{issued(0, 1, 100), on(Use, 10, 11, Fail)}, ""},
		"never acknowledged":               {[]Op{on(Issue, 0, 1, Unknown), denied(10, 11)}, ""},
		"denied while being issued":        {[]Op{issued(0, 5, 100), denied(1, 6)}, ""},
	} {
		checkFinding(t, name, Gone(c.ops), c.want)
	}
}

func TestUndead(t *testing.T) {
	const undead = "token-1 lives on by the answer of vault-0 at 00:00:00.011, to a question put 4ms after vault-0 had acknowledged that it is revoked"
	for name, c := range map[string]struct {
		ops  []Op
		want string
	}{
		"revoked":                 {[]Op{issued(0, 1, 100), on(Revoke, 5, 6, OK), denied(10, 11)}, ""},
		"lives on":                {[]Op{issued(0, 1, 100), on(Revoke, 5, 6, OK), on(Use, 10, 11, OK)}, undead},
		"asked while revoked":     {[]Op{issued(0, 1, 100), on(Revoke, 5, 6, OK), on(Use, 6, 11, OK)}, ""},
		"a revoke in doubt":       {[]Op{issued(0, 1, 100), on(Revoke, 5, 6, Unknown), on(Use, 10, 11, OK)}, ""},
		"a revoke that failed":    {[]Op{issued(0, 1, 100), on(Revoke, 5, 6, Fail), on(Use, 10, 11, OK)}, ""},
		"no answer after revoked": {[]Op{issued(0, 1, 100), on(Revoke, 5, 6, OK), on(Use, 10, 11, Unknown)}, ""},
	} {
		checkFinding(t, name, Undead(c.ops), c.want)
	}
}

func TestUndecryptable(t *testing.T) {
	decrypt := func(value string, outcome Outcome) Op {
		return Op{Kind: Decrypt, Key: "load", Want: "d1", Value: value, Outcome: outcome, Return: 11 * ms, Pod: "vault-1", Error: "HTTP 400"}
	}
	refused := decrypt("", Fail)
	refused.Denied = true
	for name, c := range map[string]struct {
		op   Op
		want string
	}{
		"right":              {decrypt("d1", OK), ""},
		"wrong":              {decrypt("d2", OK), "came back from vault-1 at 00:00:00.011 with the digest d2, want d1"},
		"no answer":          {decrypt("", Unknown), ""},
		"failed for a while": {decrypt("", Fail), ""},
		"refused for good":   {refused, "cannot be decrypted, says vault-1 at 00:00:00.011: HTTP 400"},
	} {
		checkFinding(t, name, Undecryptable([]Op{c.op}), c.want)
	}
}
