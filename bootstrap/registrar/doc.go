// Package registrar takes the place of the Kubernetes API server for the service
// registration of the pod's own Vault, so that Vault never waits for it.
//
// Vault labels its own pod through the API server: active, sealed, initialised,
// its version. It does so in line, while it holds the lock that guards its state:
// when it becomes active (before it is), steps down, unseals, seals, and before
// it listens at all. A call that fails is repeated ten times with pauses of 0.5
// to 30 s, and the connection has no time limit. So while the API server is away,
// a new active Vault does not become active, nor answer who is; one that starts
// does not listen; and one that is told to stop does not end.
//
// The registrar answers the two calls that registration makes, "get" and "patch"
// of the own pod, at once and from memory. Package fence carries the labels to
// the API server, as often as it takes.
//
// # What Vault's container is given
//
// KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT name the registrar's
// loopback address. Where registration looks for the cluster's CA it finds the one
// that signed the pod's certificate, which must be good for 127.0.0.1; where it
// looks for a token it finds any word, which is not looked at. Vault's container
// has no credential for Kubernetes at all, and neither has whoever takes it over.
//
// # Who may ask what
//
// Clients on loopback alone, which is this pod. They may read the own pod's name
// and Vault's labels, and set these:
//
//	vault-active, vault-sealed, vault-initialized, vault-perf-standby  true or false
//	vault-version                                                      what a label can hold
//
// All else is refused as the API server does it: 403 for another pod, another
// label or another verb, 404 for any other path, 422 for another value. Vault
// repeats none of these in line. A patch is taken as a whole or not at all.
//
// # What becomes of a label
//
// Of each label the last value counts, and only that is written; what it was in
// between while the API server was away is never seen. Vault's word is not the
// only source: every two seconds its sys/health is asked, and where Vault has said
// nothing since, that counts. So a sidecar that was restarted, and has heard
// nothing, is right again within a round.
//
// For vault-active Vault's word is a hint only, because it says true before it
// serves, and says nothing if it then fails to. True is published when its own
// sys/health and sys/leader say so, and a majority of its peers where there is a
// fence. Until then these questions are asked all the time: Vault holds the answer
// back and gives it in the moment it serves. False is believed and published at
// once. One goroutine of the sidecar writes to the own pod; see package fence.
//
// # What it costs
//
// Vault now depends on the sidecar of its pod as it did on the API server. While
// nothing listens here, connections are refused, and Vault repeats after 0.5 s,
// 1 s, 2 s and so on, 2.5 minutes in all. A pause that the sidecar needs to start
// again can thus last twice as long for a Vault that changes its state meanwhile;
// one that does not is not touched. A sidecar that starts with Vault, and up to
// half a second later, costs that half second; Vault's container should wait until
// the port is open. When the pod is stopped the sidecar must outlast Vault's last
// word, which is that it is sealed (Memory.Drain): else Vault does not end, and is
// killed when the grace period is over.
package registrar
