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

// decision is what Decide must make of base with a change.
type decision struct {
	change func(*Facts)
	row    string
	state  State
	step   Step
	why    []string // parts of the reason
}

func TestDecide(t *testing.T) {
	denied := Trouble{Kind: "denied", Text: "secret vault-init-claim: denied"}
	tests := map[string]decision{
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
	for name, tt := range markerTests {
		tests[name] = tt
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
		"a silent Vault at first":      {Fast, 0, false, 25 * time.Millisecond},
		"a silent Vault later":         {Fast, 1000, false, 200 * time.Millisecond},
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
