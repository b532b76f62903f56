package machine

import (
	"fmt"
	"strings"

	"github.com/vaultproof/vaultproof/bootstrap/storage"
)

// sealedRows are for a sealed Vault that is initialised.
var sealedRows = []Row{
	{Name: "sealed-held", State: Held, Pace: Watch, When: func(f Facts) bool { return f.Sealed && f.Held },
		Trouble: func(f Facts) Trouble { return Trouble{Kind: "held: " + f.Hold} }, Why: func(f Facts) string {
			return fmt.Sprintf("Vault is sealed, and stays so because pod %s bears the annotation %s=%q; to end that: %s %s-",
				f.Pod, HoldAnnotation, f.Hold, kubectl("annotate", f), HoldAnnotation)
		}},

	// Was this storage ever opened?
	{Name: "sealed-storage-unread", State: Blocked, Pace: Slow, When: func(f Facts) bool { return f.Sealed && f.Storage.Is() },
		Trouble: func(f Facts) Trouble { return f.Storage }, Why: func(f Facts) string {
			return "Vault is sealed, and whether its storage was ever opened cannot be told, so it is neither unsealed nor emptied: " + f.Storage.Text +
				". If this Vault has data, remove that marker file; if it never had, delete the volume claim of " + f.Pod + " and then the pod"
		}},
	{Name: "sealed-fresh-stored", State: KeysStored, Step: Settle, Pace: Now, When: func(f Facts) bool { return f.Sealed && f.Fresh == storage.Init && f.ClaimDone },
		Trouble: marking, Why: with("all keys are in custody; removing the mark that the storage was never opened, before the first share is submitted", marking)},
	{Name: "sealed-fresh-uninspected", State: Initialised, Step: Inspect, Pace: Now, When: func(f Facts) bool { return f.Sealed && f.Fresh != "" && !f.Inspected },
		Trouble: custody, Why: withCustody("Vault is initialised and was never opened; looking in custody whether its keys got there")},
	{Name: "sealed-fresh-peer-has-data", State: Blocked, Step: Inspect, Pace: Slow, When: func(f Facts) bool { return f.Sealed && f.Fresh != "" && f.PeerData != "" },
		Trouble: custody, Why: func(f Facts) string {
			return fmt.Sprintf("this storage is marked as never opened, but %s has data, which does not fit together, so nothing is unsealed or emptied. If %s is the Vault to keep, delete the volume claim of %s and then the pod, and it joins",
				f.PeerData, f.PeerData, f.Pod)
		}},
	{Name: "sealed-rebuild", State: Rebuilding, Step: Rebuild, Pace: Slow, When: func(f Facts) bool { return f.Sealed && (f.begun() || f.Fresh == storage.Restore) },
		Trouble: rebuildTrouble, Why: rebuilding},
	{Name: "sealed-fresh-foreign", State: Blocked, Step: Inspect, Pace: Slow, When: func(f Facts) bool { return f.Sealed && f.Fresh != "" },
		Trouble: custody, Why: func(f Facts) string {
			return fmt.Sprintf("this storage is marked as never opened under claim %q, but the claim in secret %s-init-claim is now %q, so nothing is unsealed or emptied. If this Vault never held data, delete the volume claim of %s and then the pod",
				f.FreshClaim, f.Prefix, claimText(f), f.Pod)
		}},

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
}

// kubectl is the command that does something to this pod.
func kubectl(verb string, f Facts) string {
	if f.Namespace == "" {
		return "kubectl " + verb + " pod " + f.Pod
	}
	return "kubectl -n " + f.Namespace + " " + verb + " pod " + f.Pod
}

func claimText(f Facts) string {
	if f.Claimant == "" {
		return "none"
	}
	return f.claimID()
}

// rebuilding explains the one case in which an initialised Vault is given up.
func rebuilding(f Facts) string {
	why := fmt.Sprintf("Vault is initialised, but its keys did not all reach custody before their only other copy was lost (%d of %d shares did, claim unfinished since %s)", f.KeyShares, f.Shares, stamp(f.ClaimAt))
	if f.Fresh == storage.Restore {
		why = "restoring a snapshot into this Vault was cut short, and nobody has the keys it was begun with"
	}
	why += ". Its storage was marked before sys/init and the mark is still there, which goes before a first share is submitted: so it was never opened, nothing in it can be missed, and it is emptied when Vault starts next"
	again := "; please restart Vault: " + kubectl("delete", f)
	switch {
	case f.Marking.Is():
		return why + ". Asking for that failed and is tried again: " + f.Marking.Text
	case !f.CanRestart:
		return why + again
	case f.Restart.Is():
		return why + ". Deleting this pod for it failed and is tried again (" + f.Restart.Text + ")" + again
	}
	return why + "; deleting this pod for it"
}

func rebuildTrouble(f Facts) Trouble {
	if f.Marking.Is() {
		return f.Marking
	}
	return f.Restart
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
