// Package timeline records what happened during a run, when, as a stream of
// small events: client operations, who said to be active, seal state, labels,
// endpoints and faults. The stream is written as it happens (newline-delimited
// JSON), so that a run that dies leaves all it saw.
package timeline

import (
	"sort"
	"time"
)

// File is the name of the timeline in the directory of a run.
const File = "timeline.ndjson"

// Kind says what an event is about, and so what Subject and Value mean.
type Kind string

// The kinds of events. State kinds (Leader, Seal, Cluster, Term, Label, Endpoints) are
// recorded on change only: a value holds until the next event of the subject.
const (
	// Operation is one client operation. Subject is the operation (read,
	// write), Value the pod that answered (from X-Vault-Hostname; empty when
	// none did), At the instant the operation was due to start.
	Operation Kind = "op"
	// Leader is what a pod's own sys/leader says. Subject is the pod, Value
	// active, standby, sealed or unreachable.
	Leader Kind = "leader"
	// Gap is a time of which it is not known whether a pod was active, though it
	// was being asked: from At on, for LatencyMS. Subject is the pod.
	Gap Kind = "gap"
	// Seal is a pod's seal state. Subject is the pod, Value sealed, unsealed
	// or unreachable.
	Seal Kind = "seal"
	// Cluster is the cluster_id that a pod gives (sys/seal-status) once it is
	// unsealed. Subject is the pod.
	Cluster Kind = "cluster"
	// Index is how far a pod has applied raft's log: the raft_applied_index of
	// its own sys/leader, a decimal number. It is recorded once a second, and
	// whenever it is lower than what the pod said before. (raft_committed_index
	// is no use here: it is the end of the log, from which what was never
	// acknowledged may be cut off.)
	Index Kind = "index"
	// Term is the raft term of an active pod, by its own word (last_term in its
	// state of autopilot), a decimal number. Subject is the pod. What it says of
	// other pods is not recorded: one that is cut off knows no better.
	Term Kind = "term"
	// Label is the vault-active label of a pod. Subject is the pod, Value
	// true, false, absent, or gone when the pod does not exist.
	Label Kind = "label"
	// Endpoints are the ready endpoints of a Service. Subject is the Service,
	// Value the names of the pods, joined by commas.
	Endpoints Kind = "endpoints"
	// Fault is a step in the life of a fault. Subject is the fault's id
	// (RES-01#1), Value injecting, injected, witnessed, no-witness or
	// recovered, Detail its kind and target.
	Fault Kind = "fault"
	// Phase is a milestone of the recovery from a fault. Subject is the
	// fault's id, Value the phase (detected, elected, …).
	Phase Kind = "phase"
	// Note is a remark for the reader, such as the start of a check. Subject
	// is what it is about, Value the remark.
	Note Kind = "note"
)

// Event is one thing that happened at one instant.
type Event struct {
	// At is when it happened. Events recorded in this process also carry the
	// monotonic clock, which orders them even if the wall clock is set.
	At time.Time `json:"at"`
	// Kind decides the meaning of Subject and Value.
	Kind Kind `json:"kind"`
	// Subject is whom or what the event is about.
	Subject string `json:"subject"`
	// Value is the new state, or the answer.
	Value string `json:"value"`
	// OK says whether an operation succeeded; unused by the other kinds.
	OK bool `json:"ok,omitempty"`
	// LatencyMS is the time from At to the answer, or to the end of a gap, in
	// milliseconds.
	LatencyMS float64 `json:"latencyMs,omitempty"`
	// Detail is the error text of an operation, or kind and target of a fault.
	Detail string `json:"detail,omitempty"`
}

// Sort orders events by time. Events of the same instant keep their order.
func Sort(events []Event) {
	sort.SliceStable(events, func(i, j int) bool { return events[i].At.Before(events[j].At) })
}

// Between returns the events at or after from and before to, in their order.
func Between(events []Event, from, to time.Time) []Event {
	var within []Event
	for _, e := range events {
		if !e.At.Before(from) && e.At.Before(to) {
			within = append(within, e)
		}
	}
	return within
}
