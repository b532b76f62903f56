package machine

import (
	"strings"
	"testing"
	"time"
)

// base is an ordinal 0 whose Vault answers and is empty.
func base() Facts {
	return Facts{Pod: "vault-0", Shares: 5, Threshold: 3, Prefix: "vault", Answers: true, Sealed: true}
}

func TestDecide(t *testing.T) {
	denied := Trouble{Kind: "denied", Text: "secret vault-init-claim: denied"}
	tests := map[string]struct {
		change func(*Facts)
		row    string
		state  State
		step   Step
		why    []string // parts of the reason
	}{
		"vault silent":                 {func(f *Facts) { f.Answers = false }, "silent-cold", Connecting, Prefetch, nil},
		"vault silent, shares at hand": {func(f *Facts) { f.Answers, f.Warm, f.Silence = false, true, Trouble{"down", "connection refused"} }, "silent", Connecting, None, []string{"connection refused"}},
		"first start":                  {func(*Facts) {}, "empty-uninspected", Uninitialised, Inspect, nil},
		"custody denies":               {func(f *Facts) { f.Custody = denied }, "empty-uninspected", Uninitialised, Inspect, []string{"denied", "vault-init-claim"}},
		"not the first ordinal":        {func(f *Facts) { f.Ordinal, f.Inspected, f.Proven, f.Claimant = 1, true, true, "vault-0" }, "empty-not-first", Waiting, None, []string{"retry_join"}},
		"nothing in custody":           {func(f *Facts) { f.Inspected = true }, "empty-unproven", Uninitialised, Prove, nil},
		"custody proven":               {func(f *Facts) { f.Inspected, f.Proven = true, true }, "empty-unclaimed", CustodyProven, Take, nil},
		"claim is ours":                {func(f *Facts) { f.Inspected, f.Proven, f.Claimant = true, true, "vault-0" }, "empty-claimed", InitClaimed, Init, nil},
		"resumed claim, unproven":      {func(f *Facts) { f.Inspected, f.Claimant = true, "vault-0" }, "empty-unproven", Uninitialised, Prove, nil},
		"foreign claim":                {func(f *Facts) { f.Inspected, f.Proven, f.Claimant = true, true, "other-0" }, "empty-foreign-claim", Blocked, Inspect, []string{"other-0", "vault-init-claim", "prefix"}},
		"claim complete, Vault empty": {func(f *Facts) {
			f.Inspected, f.Proven, f.Claimant, f.ClaimDone, f.KeyShares = true, true, "vault-0", true, 5
		}, "empty-keys-exist", Waiting, Inspect, []string{"will not initialise"}},
		"claim complete, keys deleted, Vault empty": {func(f *Facts) { f.Inspected, f.Proven, f.Claimant, f.ClaimDone = true, true, "vault-0", true }, "empty-keys-exist", Waiting, Inspect, nil},
		"keys without a claim":                      {func(f *Facts) { f.Inspected, f.Proven, f.KeyShares = true, true, 1 }, "empty-keys-exist", Waiting, Inspect, nil},
		"enough keys under an open claim":           {func(f *Facts) { f.Inspected, f.Proven, f.Claimant, f.KeyShares = true, true, "vault-0", 3 }, "empty-keys-exist", Waiting, Inspect, nil},
		"too few keys ever to have opened it":       {func(f *Facts) { f.Inspected, f.Proven, f.Claimant, f.KeyShares = true, true, "vault-0", 2 }, "empty-claimed", InitClaimed, Init, nil},
		"a peer has data":                           {func(f *Facts) { f.Inspected, f.Proven, f.Claimant, f.PeerData = true, true, "vault-0", "vault-2" }, "empty-peer-has-data", Waiting, Inspect, []string{"vault-2"}},
		"init refused": {func(f *Facts) {
			f.Inspected, f.Proven, f.Claimant, f.InitFailed = true, true, "vault-0", Trouble{"refused", "no disk"}
		}, "empty-claimed", InitClaimed, Init, []string{"no disk"}},
		"keys in hand":                 {func(f *Facts) { f.KeysInHand, f.Initialised = true, true }, "keys-in-hand", Initialised, Keep, nil},
		"keys in hand, all else fails": {func(f *Facts) { f.KeysInHand, f.Answers, f.Custody = true, false, denied }, "keys-in-hand", Initialised, Keep, []string{"do not restart", "denied"}},
		"sealed":                       {func(f *Facts) { f.Initialised = true }, "sealed", KeysStored, Unseal, nil},
		"sealed, custody denies":       {func(f *Facts) { f.Initialised, f.Custody = true, denied }, "sealed", KeysStored, Unseal, []string{"denied"}},
		"sealed, Vault refuses":        {func(f *Facts) { f.Initialised, f.Unsealing = true, Trouble{"refused", "another party"} }, "sealed", KeysStored, Unseal, []string{"another party"}},
		"joining":                      {func(f *Facts) { f.Initialised, f.Joining = true, true }, "sealed-joining", KeysStored, None, nil},
		"keys lost later": {func(f *Facts) {
			f.Initialised, f.TooFew, f.Missing, f.Claimant, f.ClaimDone = true, true, []string{"vault-unseal-share-1"}, "vault-0", true
		}, "sealed-too-few-shares", Blocked, Unseal, []string{"vault-unseal-share-1", "will not be initialised again", "restore"}},
		"keys never stored": {func(f *Facts) {
			f.Initialised, f.TooFew, f.Missing, f.Claimant = true, true, []string{"vault-unseal-share-0"}, "vault-0"
		}, "sealed-too-few-shares", Blocked, Unseal, []string{"vault-unseal-share-0", "never opened", "volume claim"}},
		"shares of another Vault": {func(f *Facts) { f.Initialised, f.BadShares = true, Trouble{"wrong", "invalid key"} }, "sealed-bad-shares", Blocked, Unseal, []string{"invalid key"}},
		"removed from raft":       {func(f *Facts) { f.Initialised, f.Removed = true, true }, "removed", Blocked, None, []string{"volume claim"}},
		"open":                    {func(f *Facts) { f.Initialised, f.Sealed = true, false }, "open-roleless", Unsealed, None, nil},
		"standby":                 {func(f *Facts) { f.Initialised, f.Sealed, f.Role = true, false, Standby }, "open-standby", Serving, None, nil},
		"active":                  {func(f *Facts) { f.Initialised, f.Sealed, f.Role = true, false, Active }, "open-unprovisioned", Unsealed, Provision, nil},
		"provisioning fails": {func(f *Facts) {
			f.Initialised, f.Sealed, f.Role, f.Provision = true, false, Active, Trouble{"failing", "no root token"}
		}, "open-unprovisioned", Unsealed, Provision, []string{"no root token"}},
		"renewal due": {func(f *Facts) {
			f.Initialised, f.Sealed, f.Role, f.Provisioned, f.RenewDue = true, false, Active, true, true
		}, "open-renew", Provisioned, Renew, nil},
		"serving": {func(f *Facts) { f.Initialised, f.Sealed, f.Role, f.Provisioned = true, false, Active, true }, "open-active", Serving, None, nil},
	}
	reached := map[string]bool{}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			f := base()
			tt.change(&f)
			d := Decide(f)
			reached[d.Name] = true
			if d.Name != tt.row || d.State != tt.state || d.Step != tt.step {
				t.Errorf("row %q, state %q, step %q; want %q, %q, %q", d.Name, d.State, d.Step, tt.row, tt.state, tt.step)
			}
			for _, part := range tt.why {
				if !strings.Contains(d.Text, part) {
					t.Errorf("the reason %q does not say %q", d.Text, part)
				}
			}
		})
	}
	names := map[string]bool{}
	for _, r := range Table {
		if names[r.Name] {
			t.Errorf("two rows are called %s", r.Name)
		}
		names[r.Name] = true
		if !reached[r.Name] {
			t.Errorf("no case reaches row %s", r.Name)
		}
	}
}

// TestRules goes through every combination of facts and looks for one that
// breaks a rule which has no exception.
func TestRules(t *testing.T) {
	seen := 0
	combine(func(f Facts) {
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

// combine calls do with all combinations of the facts that decide.
func combine(do func(Facts)) {
	sets := []func(bits int) (change func(*Facts), more bool){
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
	var walk func(f Facts, rest []func(int) (func(*Facts), bool))
	walk = func(f Facts, rest []func(int) (func(*Facts), bool)) {
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

func flag(set func(*Facts, bool)) func(int) (func(*Facts), bool) { return choice(set, false, true) }

func choice[V any](set func(*Facts, V), values ...V) func(int) (func(*Facts), bool) {
	return func(i int) (func(*Facts), bool) {
		if i >= len(values) {
			return nil, false
		}
		return func(f *Facts) { set(f, values[i]) }, true
	}
}

func TestPace(t *testing.T) {
	tests := map[string]struct {
		pace   Pace
		turns  int
		failed bool
		want   time.Duration
	}{
		"success goes on at once":      {Now, 0, false, 0},
		"no progress never spins":      {Now, 1, false, 50 * time.Millisecond},
		"first failure":                {Now, 0, true, 100 * time.Millisecond},
		"many failures":                {Now, 99, true, 5 * time.Second},
		"a silent Vault at first":      {Fast, 0, false, 50 * time.Millisecond},
		"a silent Vault later":         {Fast, 1000, false, 250 * time.Millisecond},
		"a healthy Vault":              {Watch, 1000, false, 300 * time.Millisecond},
		"blocked at first":             {Slow, 0, true, 250 * time.Millisecond},
		"blocked for long, within 2 s": {Slow, 1000, true, 2 * time.Second},
	}
	for name, tt := range tests {
		if got := tt.pace.wait(tt.turns, tt.failed); got != tt.want {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
	}
}
