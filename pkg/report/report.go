// Package report turns the results of a run into a verdict and into the files
// that people and pipelines read: report.json, junit.xml and one HTML page
// that needs nothing but itself.
package report

import "time"

// Schema is the version of report.json. Fields may be added to it; a field
// that changes its meaning changes the version.
const Schema = "vaultproof.report/v1"

// Status is how a check ended.
type Status string

// The ways a check ends. Anything else counts as Inconclusive.
const (
	Passed       Status = "passed"
	Failed       Status = "failed"
	Skipped      Status = "skipped"
	Inconclusive Status = "inconclusive"
)

// Verdict is the judgement on the target as a whole.
type Verdict string

// The verdicts. Only Certified lets a gate open.
const (
	// Certified: every required check ran and no MUST failed.
	Certified Verdict = "certified"
	// NotCertified: the target broke a promise.
	NotCertified Verdict = "not-certified"
	// VerdictInconclusive: nothing broke, but not enough was proved.
	VerdictInconclusive Verdict = "inconclusive"
	// Infrastructure: the cluster or the tooling broke, so that the run says
	// nothing about the target.
	Infrastructure Verdict = "infrastructure"
)

// The levels of a check. Any other level is judged as Must.
const (
	Must   = "MUST"
	Should = "SHOULD"
)

// Report is all that a run found out. It is what report.json holds.
type Report struct {
	Schema  string    `json:"schema"`
	RunID   string    `json:"runId"`
	Seed    int64     `json:"seed"`
	Started time.Time `json:"started"`
	Ended   time.Time `json:"ended"`
	Target  Target    `json:"target"`
	Profile string    `json:"profile"`
	Verdict Verdict   `json:"verdict"`
	// Reasons are plain sentences, the weightiest first: why the verdict is
	// not certified, then what is worth knowing anyway.
	Reasons []string `json:"reasons"`
	// Broken is set by the runner when the cluster or the tooling failed, and
	// says what; the verdict is then Infrastructure.
	Broken string `json:"infrastructure,omitempty"`
	// Interrupted is set by the runner when the run ended early (Ctrl-C, a
	// panic), and says why; such a run never certifies.
	Interrupted string `json:"interrupted,omitempty"`
	// Required are the ids that the profile demands, as given to Judge.
	Required []string `json:"required"`
	Checks   []Check  `json:"checks"`
	Faults   []Fault  `json:"faults"`
	// Baseline is the comparison with an earlier run; nil if there was none.
	Baseline *Baseline `json:"baseline,omitempty"`

	dir string // where it was written to or loaded from, for Summary
}

// Target describes what was tested.
type Target struct {
	Cluster           string `json:"cluster"`
	KubernetesVersion string `json:"kubernetesVersion"`
	VaultVersion      string `json:"vaultVersion"`
	// Images maps an image's name to its digest.
	Images    map[string]string `json:"images"`
	Namespace string            `json:"namespace"`
	Nodes     []Node            `json:"nodes"`
	// Found says how each thing of a Vault that others installed was found, and Unseen
	// why the rest was not.
	Found  map[string]string `json:"found,omitempty"`
	Unseen map[string]string `json:"unseen,omitempty"`
}

// Node is one machine of the cluster.
type Node struct {
	Name string `json:"name"`
	// Role is what it is for, e.g. control-plane, vault, services.
	Role string `json:"role"`
	// Zone is its topology.kubernetes.io/zone; empty when it has none.
	Zone string `json:"zone,omitempty"`
}

// Check is the outcome of one check of the catalogue.
type Check struct {
	// ID is the permanent id, e.g. ACT-02.
	ID string `json:"id"`
	// Area groups checks, e.g. routing.
	Area string `json:"area"`
	// Level is MUST or SHOULD.
	Level string `json:"level"`
	// Assertion is what must hold, in one sentence.
	Assertion string `json:"assertion"`
	// Source is where the demand comes from: an issue, a document, a file.
	Source string `json:"source,omitempty"`
	Status Status `json:"status"`
	// Reason is what was seen, or why the check could not tell.
	Reason string `json:"reason,omitempty"`
	// Inapplicable: the demand is not made of this version of Vault, so that a
	// check which was skipped for that leaves no gap.
	Inapplicable bool `json:"inapplicable,omitempty"`
	// Seconds is how long the check took.
	Seconds float64 `json:"seconds"`
	// Measurements are named numbers; the unit ends the name: outage_ms,
	// writes_total.
	Measurements map[string]float64 `json:"measurements,omitempty"`
}

// Fault is one fault that was injected, and what it did.
type Fault struct {
	// ID is the check's id and the trial, e.g. RES-01#1.
	ID string `json:"id"`
	// Check is the id of the check that injected it.
	Check string `json:"check"`
	// Kind is what was done, e.g. pod-delete.
	Kind string `json:"kind"`
	// Target is to whom, e.g. vault-0 or zone-a.
	Target string `json:"target"`
	// InjectedAt is when the fault was asked for. Phases count from it.
	InjectedAt time.Time `json:"injectedAt"`
	// Witness is independent proof that the fault hit; empty when there is
	// none, which makes the run inconclusive.
	Witness     string    `json:"witness"`
	WitnessedAt time.Time `json:"witnessedAt,omitzero"`
	// RecoveredAt is when the fault was undone; zero when it never was.
	RecoveredAt time.Time `json:"recoveredAt,omitzero"`
	// OutageMS is the time from the first failed to the first good operation,
	// in milliseconds; 0 when no operation failed.
	OutageMS float64 `json:"outageMs"`
	// BudgetMS is what the outage may last, in milliseconds; 0 means that no
	// budget is set.
	BudgetMS float64 `json:"budgetMs,omitempty"`
	Phases   Phases  `json:"phases"`
	// AckedWritesLost counts the writes that Vault acknowledged and that
	// could not be read afterwards.
	AckedWritesLost int `json:"ackedWritesLost"`
}

// Phases are the milestones of a recovery, in milliseconds after the fault
// was injected; nil when the milestone was not seen or does not apply.
type Phases struct {
	// Detected: the first operation failed, or the first pod missed its active.
	Detected *float64 `json:"detected,omitempty"`
	// Elected: a new pod says that it is active.
	Elected *float64 `json:"elected,omitempty"`
	// Labelled: the new active alone bears vault-active=true.
	Labelled *float64 `json:"labelled,omitempty"`
	// Routed: the Service has the new active alone as its endpoint.
	Routed *float64 `json:"routed,omitempty"`
	// FirstWrite: the first acknowledged write after the outage.
	FirstWrite *float64 `json:"firstWrite,omitempty"`
	// Unsealed: the pod that was hit is unsealed again.
	Unsealed *float64 `json:"unsealed,omitempty"`
}

// MS returns a pointer to ms, for filling Phases.
func MS(ms float64) *float64 { return &ms }
