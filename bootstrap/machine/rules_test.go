package machine

import "testing"

// TestRules goes through every combination of facts and looks for one that
// breaks a rule which has no exception.
func TestRules(t *testing.T) {
	seen := 0
	combine(sets(), func(f Facts) {
		seen++
		d := Decide(f)
		empty := f.Answers && !f.Initialised && f.Ordinal == 0
		open := f.Answers && f.Initialised && !f.Sealed
		broken := ""
		switch {
		case f.KeysInHand && d.Step != Keep:
			broken = "keys in hand come first"
		case d.Step == Keep && !f.KeysInHand:
			broken = "there are no keys to keep"
		case d.Step == Init && !(empty && f.Inspected && f.Proven && f.Claimant == f.Pod && !f.ClaimDone && f.KeyShares < f.Threshold && f.PeerData == ""):
			broken = "a Vault that may have data is initialised"
		case (d.Step == Take || d.Step == Prove || d.Step == Inspect) && !empty:
			broken = "only an empty ordinal 0 prepares an init"
		case d.Step == Unseal && !(f.Answers && f.Initialised && f.Sealed && !f.Removed):
			broken = "shares are submitted where they do not belong"
		case d.Step == Rebuild || d.Step == Mark || d.Step == Retire || d.Step == Settle:
			broken = "a storage without markers is marked or emptied"
		case (d.Step == Provision || d.Step == Renew) && !(open && f.Role == Active):
			broken = "only an active pod is provisioned"
		case d.State == Serving && !open:
			broken = "a closed Vault does not serve"
		case d.Text == "":
			broken = "no reason is given"
		}
		if broken != "" {
			t.Fatalf("%s: row %s, step %q for %+v", broken, d.Name, d.Step, f)
		}
	})
	t.Logf("%d combinations", seen)
}

// set gives one value after another to a fact.
type set = func(i int) (change func(*Facts), more bool)

// sets are the facts that decide where storage bears no mark.
func sets() []set {
	return []set{
		flag(func(f *Facts, on bool) { f.Answers = on }),
		flag(func(f *Facts, on bool) { f.Initialised = on }),
		flag(func(f *Facts, on bool) { f.Sealed = on }),
		flag(func(f *Facts, on bool) { f.Inspected = on }),
		flag(func(f *Facts, on bool) { f.Proven = on }),
		flag(func(f *Facts, on bool) { f.ClaimDone = on }),
		flag(func(f *Facts, on bool) { f.KeysInHand = on }),
		flag(func(f *Facts, on bool) { f.Provisioned = on }),
		flag(func(f *Facts, on bool) { f.Removed = on }),
		flag(func(f *Facts, on bool) { f.RootKey = on }),
		flag(func(f *Facts, on bool) { f.TooFew = on }),
		choice(func(f *Facts, v string) { f.PeerData = v }, "", "vault-1"),
		choice(func(f *Facts, v string) { f.Claimant = v }, "", "vault-0", "other-0"),
		choice(func(f *Facts, v int) { f.Ordinal = v }, 0, 1),
		choice(func(f *Facts, v int) { f.KeyShares = v }, 0, 2, 3, 5),
		choice(func(f *Facts, v Role) { f.Role = v }, Unknown, Active, Standby),
		choice(func(f *Facts, v bool) { f.RenewDue = v }, false, true),
	}
}

// combine calls do with all combinations of the sets.
func combine(sets []set, do func(Facts)) {
	var walk func(f Facts, rest []set)
	walk = func(f Facts, rest []set) {
		if len(rest) == 0 {
			do(f)
			return
		}
		for i := 0; ; i++ {
			change, ok := rest[0](i)
			if !ok {
				return
			}
			g := f
			change(&g)
			walk(g, rest[1:])
		}
	}
	walk(Facts{Pod: "vault-0", Shares: 5, Threshold: 3, Prefix: "vault"}, sets)
}

func flag(change func(*Facts, bool)) set { return choice(change, false, true) }

func choice[V any](change func(*Facts, V), values ...V) set {
	return func(i int) (func(*Facts), bool) {
		if i >= len(values) {
			return nil, false
		}
		return func(f *Facts) { change(f, values[i]) }, true
	}
}
