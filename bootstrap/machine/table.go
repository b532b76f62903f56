package machine

import (
	"fmt"
	"strings"
	"time"
)

// Row of the table: in facts that fit When, the pod is in State, and Step is
// due at that Pace.
type Row struct {
	Name  string // unique; a change of it is a transition
	State State
	Step  Step
	Pace  Pace
	When  func(Facts) bool
	// Why tells an admin what is the matter and what to do, if anything.
	Why func(Facts) string
	// Trouble is what makes the row new again although its name is the same.
	Trouble func(Facts) Trouble
}

// Table holds the rows in order of precedence: the first that fits decides.
var Table = []Row{
	// Keys that exist only in memory come before everything, a silent Vault included.
	{Name: "keys-in-hand", State: Initialised, Step: Keep, Pace: Now, When: func(f Facts) bool { return f.KeysInHand },
		Trouble: custody, Why: func(f Facts) string {
			if f.Custody.Is() {
				return "Vault is initialised, but custody does not take the keys; they are in this process's memory only, so do not restart this pod. Mend custody: " + f.Custody.Text
			}
			return "Vault is initialised; storing its keys in custody and reading each back"
		}},

	{Name: "silent-cold", State: Connecting, Step: Prefetch, Pace: Fast, When: func(f Facts) bool { return !f.Answers && !f.Warm },
		Trouble: silence, Why: silent},
	{Name: "silent", State: Connecting, Pace: Fast, When: func(f Facts) bool { return !f.Answers }, Trouble: silence, Why: silent},

	{Name: "removed", State: Blocked, Pace: Slow, When: func(f Facts) bool { return f.Removed },
		Why: func(f Facts) string {
			return "this node was removed from its raft cluster and cannot be unsealed: delete its volume claim and then pod " + f.Pod + ", and it joins anew"
		}},

	// An empty Vault.
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
	{Name: "empty-claimed", State: InitClaimed, Step: Init, Pace: Now, When: func(f Facts) bool { return !f.Initialised },
		Trouble: func(f Facts) Trouble { return f.InitFailed }, Why: func(f Facts) string {
			if f.InitFailed.Is() {
				return "the claim is ours, but Vault refused to be initialised, and is asked again: " + f.InitFailed.Text
			}
			return "the claim is ours; initialising Vault"
		}},

	// A sealed Vault with data.
	{Name: "sealed-joining", State: KeysStored, Pace: Fast, When: func(f Facts) bool { return f.Sealed && f.Joining },
		Why: say("Vault took the shares and is fetching its data from the active pod")},
	{Name: "sealed-too-few-shares", State: Blocked, Step: Unseal, Pace: Slow, When: func(f Facts) bool { return f.Sealed && f.TooFew },
		Trouble: func(f Facts) Trouble { return Trouble{Kind: strings.Join(f.Missing, ","), Text: f.Custody.Text} }, Why: tooFew},
	{Name: "sealed-bad-shares", State: Blocked, Step: Unseal, Pace: Slow, When: func(f Facts) bool { return f.Sealed && f.BadShares.Is() },
		Trouble: func(f Facts) Trouble { return f.BadShares }, Why: func(f Facts) string {
			return "Vault is sealed and the shares in custody do not open it: " + f.BadShares.Text + ". Restore the versions of secrets " + f.Prefix + "-unseal-share-* that belong to this Vault's data"
		}},
	{Name: "sealed", State: KeysStored, Step: Unseal, Pace: Now, When: func(f Facts) bool { return f.Sealed },
		Trouble: sealed, Why: func(f Facts) string {
			const doing = "Vault is sealed; fetching shares and unsealing it"
			if t := sealed(f); t.Is() {
				return doing + ", which failed and is tried again: " + t.Text
			}
			return doing
		}},

	// An open Vault.
	{Name: "open-roleless", State: Unsealed, Pace: Fast, When: func(f Facts) bool { return f.Role == Unknown },
		Why: say("Vault is unsealed; asking it whether it is active")},
	{Name: "open-standby", State: Serving, Pace: Watch, When: func(f Facts) bool { return f.Role == Standby },
		Why: say("Vault is unsealed and a standby")},
	{Name: "open-unprovisioned", State: Unsealed, Step: Provision, Pace: Now, When: func(f Facts) bool { return !f.Provisioned },
		Trouble: func(f Facts) Trouble { return f.Provision }, Why: func(f Facts) string {
			if f.Provision.Is() {
				return "Vault is unsealed and active, but provisioning is not through, and is tried again: " + f.Provision.Text
			}
			return "Vault is unsealed and active; checking policies, audit devices and the provisioner token"
		}},
	{Name: "open-renew", State: Provisioned, Step: Renew, Pace: Now, When: func(f Facts) bool { return f.RenewDue },
		Trouble: func(f Facts) Trouble { return f.Provision }, Why: func(f Facts) string {
			if f.Provision.Is() {
				return "the provisioner token is due for renewal, which failed and is tried again: " + f.Provision.Text
			}
			return "the provisioner token is due for renewal"
		}},
	{Name: "open-active", State: Serving, Pace: Watch, When: func(Facts) bool { return true },
		Trouble: func(f Facts) Trouble { return f.Provision }, Why: func(f Facts) string {
			if f.Provision.Is() {
				return "Vault is unsealed, active and provisioned, with a reservation: " + f.Provision.Text
			}
			return "Vault is unsealed, active and provisioned"
		}},
}

// used tells whether custody knows of a Vault that may hold data: its keys
// were all stored, or enough of them to have opened it.
func (f Facts) used() bool {
	return f.ClaimDone || f.KeyShares >= f.Threshold || (f.Claimant == "" && (f.KeyShares > 0 || f.RootKey))
}

// tooFew tells a lost custody from a crash that came between sys/init and
// custody, for the remedies are opposite.
func tooFew(f Facts) string {
	what := fmt.Sprintf("Vault has data and is sealed, and custody gives fewer than %d shares: no readable version of %s", f.Threshold, strings.Join(f.Missing, ", "))
	if f.Custody.Is() {
		what += " (" + f.Custody.Text + ")"
	}
	if f.Claimant != "" && !f.ClaimDone && f.KeyShares < f.Threshold {
		return what + fmt.Sprintf(". The claim of %s (%s) is unfinished, so the keys were lost between sys/init and custody, and this Vault was never opened: delete the volume claim of %s and then the pod to initialise afresh",
			f.Claimant, stamp(f.ClaimAt), f.Claimant)
	}
	return what + ". It will not be initialised again: restore or enable those secret versions, and it unseals by itself"
}

func custody(f Facts) Trouble { return f.Custody }
func sealed(f Facts) Trouble {
	if f.Custody.Is() {
		return f.Custody
	}
	return f.Unsealing
}
func silence(f Facts) Trouble { return f.Silence }

func silent(f Facts) string {
	if f.Silence.Is() {
		return "Vault does not answer on this pod's loopback: " + f.Silence.Text
	}
	return "waiting for Vault's first answer"
}

func say(s string) func(Facts) string { return func(Facts) string { return s } }

func withCustody(doing string) func(Facts) string {
	return func(f Facts) string {
		if f.Custody.Is() {
			return doing + ", which failed and is tried again: " + f.Custody.Text
		}
		return doing
	}
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
