// Package history holds the operations that clients saw and judges them:
// whether an acknowledged write or journal entry was lost, whether every key
// behaved as one linearizable compare-and-set register, whether what was
// encrypted came back, and whether tokens and leases lived as long as promised
// and no longer, although the cluster was broken underneath.
//
// A history is saved before it is judged, so that a judgement can be repeated
// without the cluster.
package history

// The names of the files in the directory of a run.
const (
	File        = "history.ndjson" // every operation
	FinalFile   = "final.json"     // what was there at the end
	PictureFile = "violation.html" // a key that has no linear order
)

// Kind is what an operation does to its key.
type Kind string

// The kinds of operations.
const (
	// Read reads the value and the version of a key.
	Read Kind = "read"
	// Write sets a key to Value if its version is CAS.
	Write Kind = "write"
	// Append adds Value, an entry that no other append has, to the journal Key.
	// The journal is read back as a set when the load has ended: [Final].
	Append Kind = "append"
	// Encrypt encrypts a plaintext, of which Value is a short digest, with the
	// transit key Key.
	Encrypt Kind = "encrypt"
	// Decrypt decrypts what an Encrypt that was OK gave. Want is the digest of
	// what was put in, Value that of what came out.
	Decrypt Kind = "decrypt"
	// Issue asks for a token or a lease, which lasts at least until Expires.
	Issue Kind = "issue"
	// Use looks a token or lease up, or renews it; a renewal that is OK tells
	// in Expires until when it lasts now, a lookup leaves it at 0.
	Use Kind = "use"
	// Revoke ends a token or lease. It is OK only if Vault said that it is done:
	// a lease is revoked with sync.
	Revoke Kind = "revoke"
)

// Outcome is what a client knows about an operation when it ends.
type Outcome string

// The outcomes. A doubtful case is always Unknown: a Fail that took place
// after all would turn into a false accusation.
const (
	// OK: Vault acknowledged the operation.
	OK Outcome = "ok"
	// Fail: the operation has certainly had no effect and never will.
	Fail Outcome = "fail"
	// Unknown: the operation may have had its effect, or may still have it.
	Unknown Outcome = "unknown"
)

// Op is one operation, as its client saw it.
type Op struct {
	// Client numbers sequential clients: two operations of one client never
	// overlap. A client whose operation ended Unknown issues no more.
	Client int `json:"client"`
	// Kind is what was done.
	Kind Kind `json:"kind"`
	// Key names the register, the journal or the transit key. A token or lease
	// is named by a number of our own (token-17, lease-4), never by itself.
	Key string `json:"key"`
	// Value is what was written or appended, or what was read or decrypted (its
	// digest); every write and append of a history has a value of its own. A
	// read of a key that does not exist has none.
	Value string `json:"value,omitempty"`
	// Want is the digest that a Decrypt has to give.
	Want string `json:"want,omitempty"`
	// CAS is the version that a write demands; 0 means "must not exist".
	CAS int `json:"cas,omitempty"`
	// Version is the version Vault gave to a write, or the one that was read.
	// It is 0 for a key that does not exist, and for a write without answer.
	Version int `json:"version,omitempty"`
	// Call and Return bound the operation, in nanoseconds of one clock.
	Call   int64 `json:"call"`
	Return int64 `json:"return"`
	// Expires is until when a token or lease lasts at least, in the same clock:
	// what Vault granted, counted from the call, since Vault's own count began
	// no earlier.
	Expires int64 `json:"expires,omitempty"`
	// Outcome is ok, fail or unknown.
	Outcome Outcome `json:"outcome"`
	// Denied marks a Use that failed because Vault said for certain that there
	// is no such token or lease, or a Decrypt that failed because it said for
	// certain that this cannot be decrypted. A sealed, unreachable or
	// overloaded Vault says nothing of the kind.
	Denied bool `json:"denied,omitempty"`
	// Pod is the pod that answered, empty when none did.
	Pod string `json:"pod,omitempty"`
	// Error is why an operation is not OK. It never holds a secret.
	Error string `json:"error,omitempty"`
}

// State is the last state of a key, read after the cluster has healed.
type State struct {
	Version int    `json:"version"`
	Value   string `json:"value"`
}

// Final is what the load found when it had ended and the cluster had healed.
// A key or journal that is missing could not be read.
type Final struct {
	// Rate is how many operations the load was to start in a second.
	Rate float64 `json:"rate,omitempty"`
	// Registers are the last states of the keys that were read and written.
	Registers map[string]State `json:"registers,omitempty"`
	// Journals are the entries of each journal, in any order.
	Journals map[string][]string `json:"journals,omitempty"`
}
