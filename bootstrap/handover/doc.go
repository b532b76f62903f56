// Package handover makes an active Vault give its leadership away before it is
// stopped, while it is still there to vote.
//
// A Vault that is told to stop gives its leadership away too, but takes its raft
// listener down at the same time. If the one it chose then lacks a vote (say,
// because its connection to the third pod is stale), that vote is lost and
// another election timeout passes: two to three seconds without an active
// Vault instead of less than one.
//
// For ten seconds after a step-down Vault does not become active again, even if
// raft elects it, nor does it end before that when told to stop; it votes all the
// while. So the stop of an active pod takes that much longer, which the grace
// period must allow for, and nothing is handed over when only the sidecar is
// restarted.
//
// Both containers of the pod take part, through files in a folder that they
// share. The kubelet runs their preStop hooks side by side, and sends SIGTERM to
// a container when its own hook has ended:
//
//	stopping  written by Vault's hook: Vault is about to be stopped
//	begun     written by this hook: somebody is handing over, wait for it
//	done      written by this hook, however it went: Vault may be stopped
//
// Without stopping only the sidecar is being restarted, and leadership stays;
// without begun only Vault is, and nobody waits.
package handover
