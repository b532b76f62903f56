package machine

import (
	"testing"
	"time"

	"github.com/vaultproof/vaultproof/bootstrap/storage"
)

var claimedAt = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

const ourClaim = "vault-0@2026-01-02T03:04:05Z"

// begun is a storage that was marked under our open claim.
func begun(f *Facts) {
	f.Markers, f.Fresh, f.FreshClaim, f.CanRestart = true, storage.Init, ourClaim, true
	f.Inspected, f.Claimant, f.ClaimAt = true, "vault-0", claimedAt
}

// lost is a Vault that was initialised on such a storage, and its keys lost.
func lost(f *Facts) { begun(f); f.Initialised = true }

// and changes what one of these makes.
func and(from func(*Facts), change func(*Facts)) func(*Facts) {
	return func(f *Facts) { from(f); change(f) }
}

// markerTests are the decisions that the markers and the hold bear upon.
var markerTests = map[string]decision{
	// An empty Vault.
	"claimed, storage not marked":          {and(begun, func(f *Facts) { f.Proven, f.Fresh, f.FreshClaim = true, "", "" }), "empty-unmarked", InitClaimed, Mark, []string{"never opened"}},
	"claimed, marked under an older claim": {and(begun, func(f *Facts) { f.Proven, f.FreshClaim = true, "vault-0@2025-01-01T00:00:00Z" }), "empty-unmarked", InitClaimed, Mark, nil},
	"claimed, marked for a restore":        {and(begun, func(f *Facts) { f.Proven, f.Fresh = true, storage.Restore }), "empty-unmarked", InitClaimed, Mark, nil},
	"claimed and marked":                   {and(begun, func(f *Facts) { f.Proven = true }), "empty-claimed", InitClaimed, Init, nil},
	"emptied":                              {and(begun, func(f *Facts) { f.Proven, f.Rebuild = true, true }), "empty-unmarked", InitClaimed, Mark, nil},
	"marking fails":                        {and(begun, func(f *Facts) { f.Proven, f.Fresh, f.Marking = true, "", Trouble{"failing", "no space left"} }), "empty-unmarked", InitClaimed, Mark, []string{"no space left"}},
	"emptied, keys of the first try left":  {and(begun, func(f *Facts) { f.Proven, f.KeyShares, f.LiveKeys = true, 5, 4 }), "empty-lost-keys", InitClaimed, Retire, []string{"never opened"}},
	"emptied, those keys disabled":         {and(begun, func(f *Facts) { f.Proven, f.KeyShares, f.RootKey = true, 5, true }), "empty-claimed", InitClaimed, Init, nil},
	"empty, enough keys, no mark":          {and(begun, func(f *Facts) { f.Proven, f.KeyShares, f.Fresh = true, 3, "" }), "empty-keys-exist", Waiting, Inspect, []string{"will not initialise"}},
	"empty and marked, claim complete":     {and(begun, func(f *Facts) { f.Proven, f.ClaimDone = true, true }), "empty-keys-exist", Waiting, Inspect, nil},
	"empty and marked, a peer has data":    {and(begun, func(f *Facts) { f.Proven, f.PeerData = true, "vault-2" }), "empty-peer-has-data", Waiting, Inspect, nil},
	"a restore is under way":               {and(begun, func(f *Facts) { f.Fresh, f.Restoring = storage.Restore, true }), "restoring", Waiting, None, nil},

	// An initialised one.
	"initialised, custody not looked into": {and(lost, func(f *Facts) { f.Inspected, f.Claimant = false, "" }), "sealed-fresh-uninspected", Initialised, Inspect, nil},
	"initialised, custody unreadable":      {and(lost, func(f *Facts) { f.Inspected, f.Custody = false, Trouble{"unavailable", "deadline"} }), "sealed-fresh-uninspected", Initialised, Inspect, []string{"deadline"}},
	"all keys lost":                        {lost, "sealed-rebuild", Rebuilding, Rebuild, []string{"never opened", "0 of 5", "deleting this pod"}},
	"some keys lost":                       {and(lost, func(f *Facts) { f.KeyShares, f.LiveKeys = 2, 2 }), "sealed-rebuild", Rebuilding, Rebuild, []string{"2 of 5"}},
	"enough shares, the claim open":        {and(lost, func(f *Facts) { f.KeyShares, f.LiveKeys = 4, 4 }), "sealed-rebuild", Rebuilding, Rebuild, []string{"4 of 5"}},
	"all keys there, the claim open":       {and(lost, func(f *Facts) { f.KeyShares, f.LiveKeys, f.RootKey = 5, 6, true }), "sealed-rebuild", Rebuilding, Rebuild, nil},
	"lost, and we may delete no pod":       {and(lost, func(f *Facts) { f.CanRestart = false }), "sealed-rebuild", Rebuilding, Rebuild, []string{"kubectl delete pod vault-0"}},
	"lost, and deleting the pod fails":     {and(lost, func(f *Facts) { f.Restart = Trouble{"failing", "forbidden"} }), "sealed-rebuild", Rebuilding, Rebuild, []string{"forbidden", "kubectl delete pod vault-0"}},
	"lost, and asking for it fails":        {and(lost, func(f *Facts) { f.Marking = Trouble{"failing", "read-only"} }), "sealed-rebuild", Rebuilding, Rebuild, []string{"read-only"}},
	"a restore that was cut short":         {and(lost, func(f *Facts) { f.Fresh, f.ClaimDone = storage.Restore, true }), "sealed-rebuild", Rebuilding, Rebuild, []string{"restoring"}},
	"keys lost, but no mark":               {and(lost, func(f *Facts) { f.Fresh, f.TooFew, f.Missing = "", true, []string{"vault-unseal-share-0"} }), "sealed-too-few-shares", Blocked, Unseal, []string{"never opened", "volume claim"}},
	"claim complete":                       {and(lost, func(f *Facts) { f.ClaimDone, f.KeyShares, f.RootKey = true, 5, true }), "sealed-fresh-stored", KeysStored, Settle, []string{"removing the mark"}},
	"claim complete, shares lost since":    {and(lost, func(f *Facts) { f.ClaimDone, f.KeyShares = true, 0 }), "sealed-fresh-stored", KeysStored, Settle, nil},
	"claim complete, mark cannot go":       {and(lost, func(f *Facts) { f.ClaimDone, f.Marking = true, Trouble{"failing", "read-only"} }), "sealed-fresh-stored", KeysStored, Settle, []string{"read-only"}},
	"fresh, but a peer has data":           {and(lost, func(f *Facts) { f.PeerData = "vault-2" }), "sealed-fresh-peer-has-data", Blocked, Inspect, []string{"vault-2"}},
	"fresh, another's claim":               {and(lost, func(f *Facts) { f.Claimant = "other-0" }), "sealed-fresh-foreign", Blocked, Inspect, []string{"other-0", "vault-init-claim"}},
	"fresh, a later claim of ours":         {and(lost, func(f *Facts) { f.ClaimAt = claimedAt.Add(time.Hour) }), "sealed-fresh-foreign", Blocked, Inspect, []string{ourClaim}},
	"fresh, no claim":                      {and(lost, func(f *Facts) { f.Claimant = "" }), "sealed-fresh-foreign", Blocked, Inspect, []string{`"none"`}},
	"the mark is garbled":                  {and(lost, func(f *Facts) { f.Fresh, f.Storage = "", Trouble{"unreadable", "marker /x/fresh"} }), "sealed-storage-unread", Blocked, None, []string{"/x/fresh"}},
	"opened by hand":                       {and(lost, func(f *Facts) { f.Sealed, f.Role = false, Active }), "open-marked", Unsealed, Settle, []string{"never be emptied"}},
	"opened by hand while we asked":        {and(lost, func(f *Facts) { f.Sealed, f.Role, f.Fresh, f.Rebuild = false, Active, "", true }), "open-marked", Unsealed, Settle, nil},
	"a restore that died while open":       {and(lost, func(f *Facts) { f.Sealed, f.Fresh = false, storage.Restore }), "open-restore-broken", Blocked, None, []string{"vault-0", "restore again"}},

	// A hold.
	"held":                        {func(f *Facts) { f.Initialised, f.Held, f.Hold = true, true, "incident 7" }, "sealed-held", Held, None, []string{"incident 7", "kubectl annotate pod vault-0 vaultproof.dev/hold-"}},
	"held, in a known namespace":  {func(f *Facts) { f.Initialised, f.Held, f.Namespace = true, true, "safe" }, "sealed-held", Held, None, []string{"kubectl -n safe annotate pod vault-0 vaultproof.dev/hold-"}},
	"held without a reason":       {func(f *Facts) { f.Initialised, f.Held = true, true }, "sealed-held", Held, None, []string{HoldAnnotation}},
	"held, keys lost":             {and(lost, func(f *Facts) { f.Held = true }), "sealed-held", Held, None, nil},
	"held, and keys in hand":      {and(lost, func(f *Facts) { f.Held, f.KeysInHand = true, true }), "keys-in-hand", Initialised, Keep, nil},
	"held, but empty":             {func(f *Facts) { f.Held = true }, "empty-uninspected", Uninitialised, Inspect, nil},
	"held, but open":              {func(f *Facts) { f.Initialised, f.Sealed, f.Held, f.Role = true, false, true, Standby }, "open-standby", Serving, None, nil},
	"held, custody has no shares": {func(f *Facts) { f.Initialised, f.Held, f.TooFew = true, true, true }, "sealed-held", Held, None, nil},
}

// TestRulesOfMarkers goes through every combination of marks, claims and seals
// and looks for one in which a storage is emptied, or opened, that must not be.
func TestRulesOfMarkers(t *testing.T) {
	sets := []set{
		flag(func(f *Facts, on bool) { f.Answers = on }),
		flag(func(f *Facts, on bool) { f.Initialised = on }),
		flag(func(f *Facts, on bool) { f.Sealed = on }),
		flag(func(f *Facts, on bool) { f.Inspected = on }),
		flag(func(f *Facts, on bool) { f.Proven = on }),
		flag(func(f *Facts, on bool) { f.ClaimDone = on }),
		flag(func(f *Facts, on bool) { f.KeysInHand = on }),
		flag(func(f *Facts, on bool) { f.TooFew = on }),
		flag(func(f *Facts, on bool) { f.Rebuild = on }),
		flag(func(f *Facts, on bool) { f.Restoring = on }),
		flag(func(f *Facts, on bool) { f.Held = on }),
		choice(func(f *Facts, v int) { f.Ordinal = v }, 0, 1),
		choice(func(f *Facts, v string) { f.PeerData = v }, "", "vault-1"),
		choice(func(f *Facts, v Trouble) { f.Storage = v }, Trouble{}, Trouble{"unreadable", "x"}),
		choice(func(f *Facts, v string) { f.Claimant = v }, "", "vault-0", "other-0"),
		choice(func(f *Facts, v int) { f.KeyShares, f.LiveKeys = v, v }, 0, 2, 5),
		choice(func(f *Facts, v storage.Purpose) { f.Fresh = v }, "", storage.Init, storage.Restore),
		choice(func(f *Facts, v string) { f.FreshClaim = v }, ourClaim, "vault-0@2025-01-01T00:00:00Z"),
	}
	seen, emptied := 0, 0
	combine(sets, func(f Facts) {
		f.Markers, f.ClaimAt, f.Role = true, claimedAt, Active
		seen++
		d := Decide(f)
		sealed := f.Answers && f.Initialised && f.Sealed
		broken := ""
		switch {
		case d.Step == Rebuild && !sealed:
			broken = "a storage is emptied whose Vault is not sealed"
		case d.Step == Rebuild && f.Fresh == "":
			broken = "a storage is emptied that is not marked as fresh"
		case d.Step == Rebuild && f.Fresh == storage.Init && (f.ClaimDone || f.Claimant != f.Pod || f.FreshClaim != ourClaim):
			broken = "a storage is emptied without a claim that is ours, open, and that of the mark"
		case d.Step == Rebuild && (!f.Inspected || f.PeerData != "" || f.Storage.Is()):
			broken = "a storage is emptied although not all that speaks against it is known"
		case d.Step == Rebuild && (f.Held || f.Restoring || f.KeysInHand):
			broken = "a storage is emptied while somebody is at work"
		case d.Step == Unseal && (f.Fresh != "" || f.Storage.Is()):
			broken = "a share is submitted while the storage is, or may be, marked as never opened"
		case d.Step == Unseal && (f.Held || f.Restoring):
			broken = "a Vault is unsealed that is to stay sealed"
		case d.Step == Init && (f.Fresh != storage.Init || f.FreshClaim != ourClaim || f.Rebuild):
			broken = "a Vault is initialised on a storage that is not marked"
		case d.Step == Init && f.LiveKeys > 0:
			broken = "a Vault is initialised while lost keys are still enabled"
		case d.Step == Retire && (f.ClaimDone || f.Initialised || f.Claimant != f.Pod || f.PeerData != ""):
			broken = "keys are disabled that may open a Vault"
		case d.Step == Settle && !(f.Initialised && (!f.Sealed || f.ClaimDone)):
			broken = "the mark goes before all keys are stored"
		case d.Step == Init && (f.ClaimDone || f.PeerData != "" || f.Ordinal != 0 || f.Claimant != f.Pod):
			broken = "a Vault that may have data is initialised"
		}
		if d.Step == Rebuild {
			emptied++
		}
		if broken != "" {
			t.Fatalf("%s: row %s, step %q for %+v", broken, d.Name, d.Step, f)
		}
	})
	t.Logf("%d combinations, the storage is emptied in %d", seen, emptied)
	if emptied == 0 {
		t.Error("no combination empties the storage, so the rules were not tried")
	}
}
