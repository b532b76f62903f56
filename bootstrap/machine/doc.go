// Package machine decides what the sidecar does next.
//
// Nothing that matters is remembered: on every turn the state is derived anew
// from what Vault, custody and two marker files beside Vault's data say
// ([Facts]), by the first row of one [Table] that fits. A sidecar that was
// killed anywhere therefore resumes where it was, and every crash point is a row
// that can be tested.
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
//	└───┬──────────┘◄────────────┐     └────▲────┘│
//	    │ mark "fresh", retire   │          │     │
//	    │ lost keys, sys/init    │ emptied  │     │
//	┌───▼─────────┐  keys  ┌─────┴──────┐   │     │
//	│ initialised ├──lost─►│ rebuilding │   │     │
//	└───┬─────────┘        └────────────┘   │     │
//	    │ each key stored, read back,       │     │
//	    │ claim signed, "fresh" removed     │     │
//	┌───▼─────────┐   too few shares        │     │
//	│ keys-stored ├─────────────────────────┘     │
//	│  (sealed)   │◄──────────────────────────────┘
//	└───┬─────▲───┘  hold set ►┌──────┐
//	    │     └────────────────┤ held │
//	    │       hold ended     └──────┘
//	    │ threshold of shares
//	┌───▼──────┐  active   ┌─────────────┐
//	│ unsealed ├──────────►│ provisioned │
//	└───┬──────┘           └──────┬──────┘
//	    │ standby                 │ token renewed when due
//	┌───▼─────────────────────────▼──┐
//	│            serving             │
//	└────────────────────────────────┘
//
// Rules without an exception: a Vault that has data is never initialised; only
// ordinal 0 ever calls sys/init; and while keys are in memory that custody does
// not have, nothing else is done.
//
// Between the answer of sys/init and the last key in custody the only copy of
// the keys is in this process. If it dies there, nobody can ever open that
// Vault, and nobody ever has. The second half of that sentence is what "fresh"
// proves: it is on disk before sys/init is called, beside Vault's data, and off
// the disk before the first share is submitted. So a storage is emptied only if
//
//   - Vault is initialised and sealed,
//   - the storage is marked as fresh, under the claim that stands,
//   - that claim is ours and not signed as Stored,
//   - custody was read just now, and no peer has data,
//   - and no hold is set.
//
// The sidecar asks for it with "rebuild", and Vault's container does it before
// it starts Vault, if it finds both markers.
package machine
