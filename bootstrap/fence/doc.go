// Package fence keeps the label vault-active right on all Vault pods, from the
// pod whose Vault is active.
//
// Vault's own service registration only ever labels its own pod: true when it
// becomes active, false when it steps down, seals or starts. A Vault that is
// dead, paused or cut off does none of this, so its pod keeps true and Services
// route to it until Kubernetes gives up on the node, which takes most of a
// minute. The fence of the new active pod takes the label away at once.
//
// # One round
//
// A round reads the labels, then gathers evidence, then writes. It runs at once
// when the role of the pod changes, and every two seconds.
//
//	own Vault says                      written
//	active, and a majority names it     own pod true, every other pod's true to false
//	active, without a majority          nothing
//	active, and so says a peer          nothing, until one of them steps down
//	standby, sealed, or none listens    own pod's true to false
//	nothing (hangs)                     nothing
//
// The majority is of all pods of the StatefulSet, own pod included. A pod counts
// if its own sys/leader, asked over TLS, names the API address of this Vault.
//
// Where Vault speaks to the sidecar's registrar (package registrar), a round also
// carries the own pod's other labels, and begins at once when Vault says something:
//
//	Vault, through its registration     written
//	active: true                        nothing yet; own Vault is asked until it answers
//	active: false                       own pod false, without asking
//	any other label                     that, after vault-active is right
//
// This goroutine is then the only one in the pod that writes to it. Without a
// fence it is run for the own pod alone, where own Vault is the majority.
//
// # Why the order
//
// Each write is bound to the version of the pod that was read before the
// evidence was gathered. If Vault, another fence or an admin changed the pod
// after that, the write fails and a new round begins. So a fence that is paused
// between evidence and write, while another pod becomes active, cannot take the
// label from that pod: the new active Vault has set its own label, and that made
// a new version.
//
// A write that changes nothing makes no new version. That leaves two gaps, both
// on the own pod, whose label this fence and Vault may both write: Vault sets
// true while the pod wears a stale true that the fence is about to take away;
// and Vault sets false while the pod wears a false that the fence is about to
// mend. Therefore a round that wrote the own label is followed by another at
// once, and that one mends without waiting. A third gap is on another's pod: a
// Vault steps down without being able to say so, and becomes active again while
// a fence that had its evidence before is still about to write. All rounds are
// bounded in time, and that pod's own fence mends it.
//
// # Two that believe
//
// A cut-off former active Vault may say that it is active until its raft lease
// ends. Its fence reaches no peer, so it finds no majority and writes nothing. If
// it reaches peers, these name the new one; they name the old one only for the
// instant until they have applied the new one's first entry. In that instant the
// new one either says itself that it is active, and then neither fence writes,
// or it is still preparing. In this last case its label may be taken away by
// mistake, and its own fence mends that within a second of its first answer. A
// lease that ends before another is elected makes all of this rare; a paused
// process is how it happens.
//
// A peer's claim to be active is never counted as a vote, whatever address it
// names, so pods that were all given the same api_addr fence nobody.
//
// # No race with Vault's registration
//
// Vault labels its own pod while it holds its state lock, and only then does
// sys/leader answer with the new role. So once own Vault says active or standby,
// its registration has made its attempt. The own label is still only set to true
// after Vault was active for a second, because registration repeats a failed
// attempt by itself, every five seconds, and most troubles pass. Such a late
// repetition can also be out of date: a true that failed is sent even if a false
// came through in the meantime. That is a stale true like any other, and mended.
//
// With the registrar none of this can happen, and the own label is set to true as
// soon as there is evidence. Vault's words are numbered: what was found out before
// the last of them is thrown away. A false that cannot be written, because the API
// server is away, stands until Vault itself says that it is active.
//
// A sealed Vault is not active, and neither is one that does not listen on
// loopback: a process that starts there labels itself false before it can become
// active, which makes a new version. So in a crash loop the own pod's true goes
// even before another Vault is elected. A Vault that hangs proves nothing: its
// label is left to the fence of the next active one.
//
// # Without the API server
//
// Nothing is kept for later. A round that fails is repeated after 50 ms, doubling
// up to one second, each call bounded by three, each failure counted; what to
// write is decided anew from fresh labels and fresh evidence. Vault and the
// sidecar's machine do not depend on any of it.
package fence
