package machine

import (
	"time"

	"github.com/vaultproof/vaultproof/bootstrap/storage"
)

// State is where a pod's Vault stands. The strings are part of /status.
type State string

// The states, in the order of a first start.
const (
	Connecting    State = "connecting"
	Uninitialised State = "uninitialised"
	Waiting       State = "waiting" // an empty Vault that is not ours to initialise
	CustodyProven State = "custody-proven"
	InitClaimed   State = "init-claimed"
	Initialised   State = "initialised"
	KeysStored    State = "keys-stored" // and sealed
	Rebuilding    State = "rebuilding"  // initialised, never opened, keys lost: begins afresh
	Held          State = "held"        // sealed, and to stay so
	Blocked       State = "blocked"     // only an admin can help
	Unsealed      State = "unsealed"
	Provisioned   State = "provisioned"
	Serving       State = "serving"
)

// Step is what a row wants done. Every step is idempotent.
type Step string

// The steps.
const (
	None      Step = ""
	Prefetch  Step = "fetch shares" // so that they are at hand when Vault answers
	Inspect   Step = "look into custody"
	Prove     Step = "prove custody"
	Take      Step = "claim"
	Mark      Step = "mark storage fresh"
	Retire    Step = "retire lost keys"
	Init      Step = "sys/init"
	Keep      Step = "store keys"
	Rebuild   Step = "rebuild storage"
	Settle    Step = "remove the mark"
	Unseal    Step = "unseal"
	Provision Step = "provision"
	Renew     Step = "renew"
)

// Trouble is a failure as the table sees it. The zero value is none.
type Trouble struct {
	Kind string // one word; a change of it is news
	Text string // for an admin; never holds a secret
}

// HoldAnnotation of a Vault pod holds the reason to leave it sealed.
const HoldAnnotation = "vaultproof.dev/hold"

// Is tells whether there is any trouble.
func (t Trouble) Is() bool { return t.Kind != "" }

// Role of the pod among its peers.
type Role string

// The roles, as the pod's own sys/leader tells them.
const (
	Unknown Role = ""
	Active  Role = "active"
	Standby Role = "standby"
)

// Facts is everything the table may decide by.
type Facts struct {
	Pod       string
	Namespace string // of the pod, for messages; "" if it is not known
	Ordinal   int    // of the pod in its StatefulSet
	Shares    int    // that sys/init makes
	// Threshold of shares that opens the Vault.
	Threshold int
	Prefix    string // of the secrets, for messages

	// What Vault says.
	Answers     bool
	Silence     Trouble // why it does not answer
	Initialised bool
	Sealed      bool
	Removed     bool // from its raft cluster
	Joining     bool // took the shares, and is fetching its data from the active pod
	Role        Role
	PeerData    string // a peer that has data, though this pod has none

	// What custody says.
	Custody   Trouble // of the last step that needed it
	Inspected bool    // the facts below are known
	Proven    bool
	Claimant  string    // "" if nobody has claimed
	ClaimDone bool      // the claimant stored all keys
	ClaimAt   time.Time // of the last change of the claim
	KeyShares int       // shares that custody has ever held
	RootKey   bool      // custody has ever held the root token
	LiveKeys  int       // of shares and root token, those that are enabled

	// What the markers beside Vault's data say (package storage).
	Markers    bool            // there is a folder for them
	Storage    Trouble         // reading them
	Marking    Trouble         // of the last change to them
	Fresh      storage.Purpose // the storage was never opened; "" if it may have been
	FreshClaim string          // under which it was marked
	Rebuild    bool            // the next start of Vault empties the storage
	Restoring  bool            // a snapshot is being restored by another process
	// CanRestart: the sidecar may delete its own pod; Restart is why that failed.
	CanRestart bool
	Restart    Trouble

	// Hold is the reason on this pod to leave a sealed Vault alone, if Held.
	Held bool
	Hold string

	// Missing are the secrets that the last attempt to unseal wanted and did
	// not get; with fewer than Threshold left it is TooFew.
	Missing []string
	TooFew  bool
	// Unsealing is Vault's refusal of the last attempt, other than BadShares.
	Unsealing Trouble
	// BadShares: the shares were all taken, and did not open the Vault.
	BadShares Trouble

	// What this process holds or has done.
	KeysInHand  bool // sys/init answered, and custody does not have it all yet
	InitFailed  Trouble
	Warm        bool // shares fetched ahead
	Provisioned bool
	Provision   Trouble
	RenewDue    bool
}

// claimID is the identity of the claim while it is open, as in keys.Claim.
func (f Facts) claimID() string { return f.Claimant + "@" + stamp(f.ClaimAt) }

// begun tells whether this storage was marked under the claim that stands, is
// ours, and is open: whatever it holds was never opened by anybody.
func (f Facts) begun() bool {
	return f.Fresh == storage.Init && f.Claimant == f.Pod && !f.ClaimDone && f.FreshClaim == f.claimID()
}

// used tells whether custody knows of a Vault that may hold data: its keys
// were all stored, or enough of them to have opened it, and the storage is not
// known to be fresh.
func (f Facts) used() bool {
	return f.ClaimDone || (f.KeyShares >= f.Threshold && !f.begun()) || (f.Claimant == "" && (f.KeyShares > 0 || f.RootKey))
}
