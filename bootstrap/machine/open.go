package machine

import "github.com/vaultproof/vaultproof/bootstrap/storage"

// openRows are for an unsealed Vault.
var openRows = []Row{
	{Name: "open-marked", State: Unsealed, Step: Settle, Pace: Now, When: func(f Facts) bool { return f.Fresh == storage.Init || (f.Rebuild && f.Fresh == "") },
		Trouble: marking, Why: with("Vault is unsealed although its storage is marked as never opened; removing the mark, for now this storage must never be emptied", marking)},
	{Name: "open-restore-broken", State: Blocked, Pace: Slow, When: func(f Facts) bool { return f.Fresh == storage.Restore },
		Why: func(f Facts) string {
			return "restoring a snapshot into this Vault was cut short, and it is open with keys that nobody has: delete pod " + f.Pod + ", its storage is then emptied, and run bootstrap restore again"
		}},
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
