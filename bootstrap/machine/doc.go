// Package machine decides what the sidecar does next.
//
// Nothing that matters is remembered: on every turn the state is derived anew
// from what Vault and custody say ([Facts]), by the first row of one [Table]
// that fits. A sidecar that was killed anywhere therefore resumes where it
// was, and every crash point is a row that can be tested.
//
//	              ┌────────────┐  Vault is silent (from any state)
//	              │ connecting │◄─────────────────────────────────
//	              └─────┬──────┘
//	     no data        │        has data
//	    ┌───────────────┴─────────────────────────┐
//	┌───▼───────────┐  not ordinal 0, a peer      │
//	│ uninitialised ├──has data, or custody ►┌────▼────┐
//	└───┬───────────┘  holds keys            │ waiting │ raft's retry_join fills it
//	    │ write, read back                   └────┬────┘
//	┌───▼────────────┐                            │
//	│ custody-proven │                            │
//	└───┬────────────┘                            │
//	    │ atomic create                           │
//	┌───▼──────────┐  another's claim ►┌─────────┐│
//	│ init-claimed ├──────────────────►│ blocked ││
//	└───┬──────────┘                   └────▲────┘│
//	    │ sys/init                          │     │
//	┌───▼─────────┐                         │     │
//	│ initialised │ keys in memory only     │     │
//	└───┬─────────┘                         │     │
//	    │ each key stored, read back        │     │
//	┌───▼─────────┐   too few shares        │     │
//	│ keys-stored ├─────────────────────────┘     │
//	│  (sealed)   │◄──────────────────────────────┘
//	└───┬─────────┘
//	    │ threshold of shares
//	┌───▼──────┐  active   ┌─────────────┐
//	│ unsealed ├──────────►│ provisioned │
//	└───┬──────┘           └──────┬──────┘
//	    │ standby                 │ token renewed when due
//	┌───▼─────────────────────────▼──┐
//	│            serving             │
//	└────────────────────────────────┘
//
// Three rules have no exception: a Vault that has data is never initialised;
// only ordinal 0 ever calls sys/init; and while keys are in memory that
// custody does not have, nothing else is done.
package machine
