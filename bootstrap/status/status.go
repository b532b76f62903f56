// Package status tells the kubelet, people and Prometheus how the sidecar is
// doing, over HTTPS with the pod's own certificate: /healthz, /readyz, /status
// and /metrics. Nothing it shows is a secret.
package status

import (
	"encoding/json"
	"net/http"
	"sync"
	"time"
)

// stuckAfter is how long a turn of the machine may take before the sidecar no
// longer counts as alive. It exceeds the longest step, sys/init.
const stuckAfter = 3 * time.Minute

// Status is what /status shows. It never holds a secret.
type Status struct {
	State       string    `json:"state"`
	Why         string    `json:"why"`
	Since       time.Time `json:"since"`     // of the state
	NextRetry   time.Time `json:"nextRetry"` // when Vault is looked at next
	Pod         string    `json:"pod"`
	Role        string    `json:"role,omitempty"` // active, standby
	Answers     bool      `json:"answers"`        // Vault answers
	Sealed      bool      `json:"sealed"`
	Initialised bool      `json:"initialised"`
	Provisioned bool      `json:"provisioned"` // checked by this sidecar; only beside the active pod
	// Ready: Vault is open and not known to lack its provisioning. /readyz asks for less.
	Ready bool `json:"ready"`
	// Restore: a restore into this Vault is not through, it does not have its data.
	Restore bool `json:"restore,omitempty"`
	// LastUnsealSeconds from Vault's first sealed answer to unsealed.
	LastUnsealSeconds float64 `json:"lastUnsealSeconds,omitempty"`
	// Hold is the reason given by an admin to leave a sealed Vault sealed.
	Hold string `json:"hold,omitempty"`

	// What follows is kept by the board itself; Set ignores it.

	// Labels is nil where labels are not kept right.
	Labels *Labels `json:"labels,omitempty"`
	// Snapshot is nil until one was attempted.
	Snapshot *Snapshot `json:"snapshot,omitempty"`
	// TokenTTLSeconds by name of the token, as of now; negative once it lapsed.
	TokenTTLSeconds map[string]float64 `json:"tokenTTLSeconds,omitempty"`
}

// Labels tells how the fence keeps the labels of the Vault pods.
type Labels struct {
	// Desired value of the label by pod, as far as this pod knows.
	Desired map[string]string `json:"desired"`
	// Repaired counts by pod.
	Repaired map[string]int `json:"repaired"`
	// LastError is empty while all is well.
	LastError string `json:"lastError,omitempty"`
	// Pending labels of this pod are not yet in the API server, for as long as
	// PendingSince.
	Pending      map[string]string `json:"pending,omitempty"`
	PendingSince time.Time         `json:"pendingSince,omitzero"`
}

// Snapshot tells how snapshots are going.
type Snapshot struct {
	// Name, At and SizeBytes are of the last one that this sidecar stored and read
	// back; empty if there is none.
	Name      string    `json:"name,omitempty"`
	At        time.Time `json:"at,omitzero"`
	SizeBytes int64     `json:"sizeBytes,omitempty"`
	// LastError is of the last attempt, and Next when the next one is due; both
	// only beside the active pod.
	LastError string    `json:"lastError,omitempty"`
	Next      time.Time `json:"next,omitzero"`
}

// Board holds the current status.
type Board struct {
	mu      sync.Mutex
	status  Status
	turned  time.Time
	holding bool
	around  Surroundings
	now     func() time.Time

	labels   *Labels
	snapshot *Snapshot
	expiries map[string]time.Time // of tokens, by name
	metrics  *metrics
}

// NewBoard makes a board for a sidecar that has just started.
func NewBoard(pod string) *Board {
	b := &Board{now: time.Now}
	b.metrics = newMetrics(b)
	b.turned = b.now()
	b.status = Status{Pod: pod, State: "starting", Why: "the sidecar has just started", Since: b.turned.UTC()}
	return b
}

// Set shows s, whose Since is kept from before while the state is the same.
// holding says that keys exist only in memory, when nobody may call the
// sidecar dead.
func (b *Board) Set(s Status, holding bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.turned, b.holding = b.now(), holding
	s.Since = b.turned.UTC()
	if s.State == b.status.State {
		s.Since = b.status.Since
	}
	b.status = s
}

// Handler serves the four paths.
func (b *Board) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		b.mu.Lock()
		alive := b.holding || b.now().Sub(b.turned) < stuckAfter
		b.mu.Unlock()
		answer(w, alive, map[string]any{"alive": alive})
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		s := b.get()
		body := map[string]any{"ready": true, "state": s.State, "why": s.Why}
		err := b.unready(r.Context())
		if err != nil {
			body["ready"], body["because"] = false, err.Error()
		}
		answer(w, err == nil, body)
	})
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) { answer(w, true, b.get()) })
	mux.Handle("GET /metrics", b.metrics.handler())
	return mux
}

func (b *Board) get() Status {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.status
	s.Labels, s.TokenTTLSeconds = b.labels.copy(), nil
	s.Snapshot = b.snapshot.beside(s.Role)
	if len(b.expiries) > 0 {
		s.TokenTTLSeconds = map[string]float64{}
	}
	for name, at := range b.expiries {
		s.TokenTTLSeconds[name] = at.Sub(b.now()).Seconds()
	}
	return s
}

func answer(w http.ResponseWriter, ok bool, body any) {
	raw, err := json.Marshal(body)
	if err != nil {
		http.Error(w, "encoding the answer: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if !ok {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_, _ = w.Write(append(raw, '\n')) // the caller may be gone
}
