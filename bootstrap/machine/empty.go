package machine

import "fmt"

// emptyRows are for a Vault that is not initialised.
var emptyRows = []Row{
	{Name: "empty-not-first", State: Waiting, Pace: Fast, When: func(f Facts) bool { return !f.Initialised && f.Ordinal != 0 },
		Why: say("this Vault is empty and not ordinal 0, so it waits to join: raft's retry_join does that as soon as an active pod can be reached")},
	{Name: "empty-uninspected", State: Uninitialised, Step: Inspect, Pace: Now, When: func(f Facts) bool { return !f.Initialised && !f.Inspected },
		Trouble: custody, Why: withCustody("this Vault is empty; looking in custody whether it may be initialised")},
	{Name: "empty-peer-has-data", State: Waiting, Step: Inspect, Pace: Slow, When: func(f Facts) bool { return !f.Initialised && f.PeerData != "" },
		Why: func(f Facts) string {
			return "this Vault is empty, but " + f.PeerData + " has data, so it waits for raft's retry_join and will not initialise"
		}},
	{Name: "empty-foreign-claim", State: Blocked, Step: Inspect, Pace: Slow, When: func(f Facts) bool { return !f.Initialised && f.Claimant != "" && f.Claimant != f.Pod },
		Why: func(f Facts) string {
			return fmt.Sprintf("secret %s says that %s initialises this Vault (since %s), and this pod is %s: two deployments may share one custody prefix; give this one its own, or delete that secret if its holder is gone for good",
				f.Prefix+"-init-claim", f.Claimant, stamp(f.ClaimAt), f.Pod)
		}},
	{Name: "empty-keys-exist", State: Waiting, Step: Inspect, Pace: Slow, When: func(f Facts) bool { return !f.Initialised && f.used() },
		Why: func(f Facts) string {
			return fmt.Sprintf("this Vault is empty, but custody knows an initialised one (%d of %d shares, claim complete: %t): it waits for raft's retry_join and will not initialise. If that Vault's data is lost for good, restore a snapshot, or delete every secret %s-* to begin with nothing",
				f.KeyShares, f.Shares, f.ClaimDone, f.Prefix)
		}},
	{Name: "empty-unproven", State: Uninitialised, Step: Prove, Pace: Now, When: func(f Facts) bool { return !f.Initialised && !f.Proven },
		Trouble: custody, Why: withCustody("this Vault is empty and ours to initialise; first proving that custody takes a write and gives it back")},
	{Name: "empty-unclaimed", State: CustodyProven, Step: Take, Pace: Now, When: func(f Facts) bool { return !f.Initialised && f.Claimant == "" },
		Trouble: custody, Why: withCustody("custody works; claiming the right to initialise")},
	{Name: "empty-unmarked", State: InitClaimed, Step: Mark, Pace: Now, When: func(f Facts) bool { return !f.Initialised && f.Markers && (!f.begun() || f.Rebuild) },
		Trouble: marking, Why: with("the claim is ours; marking the storage as never opened, so that it can be told if we die before the keys are in custody", marking)},
	{Name: "empty-lost-keys", State: InitClaimed, Step: Retire, Pace: Now, When: func(f Facts) bool { return !f.Initialised && f.Markers && f.LiveKeys > 0 },
		Trouble: custody, Why: withCustody("the claim is ours, and custody holds keys of an earlier try whose Vault was never opened; disabling those versions")},
	{Name: "empty-claimed", State: InitClaimed, Step: Init, Pace: Now, When: func(f Facts) bool { return !f.Initialised },
		Trouble: func(f Facts) Trouble { return f.InitFailed }, Why: func(f Facts) string {
			if f.InitFailed.Is() {
				return "the claim is ours, but Vault refused to be initialised, and is asked again: " + f.InitFailed.Text
			}
			return "the claim is ours; initialising Vault"
		}},
}
