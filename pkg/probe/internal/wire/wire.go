// Package wire is what the prober in the cluster and the suite outside say to
// each other: JSON over HTTP, through a port-forward.
package wire

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"time"

	"github.com/vaultproof/vaultproof/pkg/history"
)

// Port is where the prober listens, on the loopback interface alone: only a
// port-forward reaches it, so what is said crosses TLS connections only.
const Port = 7070

// The paths of the control API.
const (
	PathStart   = "/start"   // POST Config; 409 when it has started already
	PathPods    = "/pods"    // PUT Pods
	PathRecords = "/records" // GET ?after=N: Records as NDJSON
	PathSamples = "/samples" // GET ?after=N: Samples as NDJSON
	PathClock   = "/clock"   // GET Clock
	PathStop    = "/stop"    // POST: ends the load and waits for its last answers
	PathFinal   = "/final"   // POST: ends the load and reads what it left: history.Final
	PathHealth  = "/healthz" // GET
)

// HeaderDropped tells how many entries before the answer were dropped because
// nobody fetched them in time.
const HeaderDropped = "X-Prober-Dropped"

// maxRate bounds the operations a second of a stream: more is a slip.
const maxRate = 100_000

// Pods maps the names of the pods to sample to their IPs.
type Pods map[string]string

// Clock is the prober's time.
type Clock struct {
	Now int64 `json:"now"` // ns since 1970
}

// Config says what the prober does. Durations are nanoseconds.
type Config struct {
	// Address is the base URL of Vault for the load.
	Address string `json:"address"`
	// CAPEM are the certificates that Vault's certificate is verified with.
	CAPEM []byte `json:"caPem"`
	// ServerName is the name Vault's certificate must bear.
	ServerName string `json:"serverName"`
	// Token may read and write below Mount/data/Prefix.
	Token string `json:"token"`
	// Mount is a kv version 2 engine; Prefix is a folder in it that is new.
	Mount  string `json:"mount"`
	Prefix string `json:"prefix"`
	// Rate is how many operations start in a second; 0 means no load.
	Rate float64 `json:"rate"`
	// WriteShare is the part of them that are writes, 0 to 1.
	WriteShare float64 `json:"writeShare"`
	// Keys is how many keys take turns.
	Keys int `json:"keys"`
	// MaxInFlight bounds the operations that wait for an answer.
	MaxInFlight int `json:"maxInFlight"`
	// Timeout is how long a client waits for an answer; DialTimeout how long
	// for a connection.
	Timeout     time.Duration `json:"timeout"`
	DialTimeout time.Duration `json:"dialTimeout"`
	// FreshConnections opens a connection for each operation.
	FreshConnections bool `json:"freshConnections"`
	// Seed decides which keys are read.
	Seed uint64 `json:"seed"`
	// Name is the first part of the names of keys; two probers whose records are laid
	// together have two. It may be empty.
	Name string `json:"name,omitempty"`
	// FirstClient is the lowest number of a client; such probers number
	// theirs apart.
	FirstClient int `json:"firstClient,omitempty"`
	// Streams go on beside the registers that are reached at Address.
	Streams []Stream `json:"streams,omitempty"`

	// Pods are asked every SampleEvery whether they are active, on SamplePort,
	// and more seldom whether they are sealed; an answer that takes longer than
	// SampleTimeout counts as none.
	Pods          Pods          `json:"pods"`
	SamplePort    int           `json:"samplePort"`
	SampleEvery   time.Duration `json:"sampleEvery"`
	SampleTimeout time.Duration `json:"sampleTimeout"`
}

// WithDefaults fills in what is left at zero.
func (c Config) WithDefaults() Config {
	set := func(d *time.Duration, to time.Duration) {
		if *d == 0 {
			*d = to
		}
	}
	set(&c.Timeout, 2*time.Second)
	set(&c.DialTimeout, 500*time.Millisecond)
	set(&c.SampleEvery, 50*time.Millisecond)
	set(&c.SampleTimeout, 400*time.Millisecond)
	if c.SamplePort == 0 {
		c.SamplePort = 8200
	}
	if c.WriteShare == 0 {
		c.WriteShare = 0.5
	}
	for i, s := range c.Streams {
		c.Streams[i] = s.withDefaults(c)
	}
	enough := roomFor(c.Rate, c.Timeout, 64)
	if c.MaxInFlight == 0 {
		c.MaxInFlight = enough
	}
	if c.Keys == 0 {
		c.Keys = enough
	}
	return c
}

// Validate tells what is wrong with a configuration that has its defaults.
func (c Config) Validate() error {
	u, err := url.Parse(c.Address)
	switch {
	case err != nil || u.Scheme != "https" || u.Host == "":
		return fmt.Errorf("the address %q is no https URL", c.Address)
	case len(c.CAPEM) == 0:
		return errors.New("the CA certificate is missing")
	case c.Rate < 0 || c.Rate > maxRate:
		return fmt.Errorf("a rate of %g operations a second is out of range", c.Rate)
	case c.WriteShare < 0 || c.WriteShare > 1:
		return fmt.Errorf("the share of writes is %g, want 0 to 1", c.WriteShare)
	case c.needsToken() && (c.Token == "" || c.Mount == "" || c.Prefix == ""):
		return errors.New("load needs a token, a mount and a prefix")
	case c.Keys < 1 || c.MaxInFlight < 1:
		return errors.New("at least one key and one operation in flight are needed")
	case c.Timeout < 0 || c.DialTimeout < 0 || c.SampleEvery < 0 || c.SampleTimeout < 0:
		return errors.New("a duration is negative")
	}
	for _, s := range c.Streams {
		if err := s.validate(); err != nil {
			return fmt.Errorf("the %s stream through %q: %w", s.Kind, s.Route, err)
		}
	}
	return nil
}

// needsToken tells whether there is load that uses a token, rather than logs in.
func (c Config) needsToken() bool {
	return c.Rate > 0 || slices.ContainsFunc(c.Streams, func(s Stream) bool { return s.Kind != Login })
}

// Record is one operation.
type Record struct {
	// N numbers records from 1, in the order in which they ended.
	N int64 `json:"n"`
	// Due is when the operation was to start, in ns since 1970.
	Due int64 `json:"due"`
	// Aux marks an operation that is not part of the schedule: a read by
	// which a writer learns what became of a write without answer.
	Aux bool `json:"aux,omitempty"`
	// Route is that of its stream; empty for the way at Config.Address.
	Route string `json:"route,omitempty"`

	history.Op
}

// What a sample is about.
const (
	Leader = "leader" // Value: active, standby, sealed or unreachable
	Seal   = "seal"   // Value: sealed, unsealed or unreachable
	// Gap: for a while nobody knows whether the pod was active, because the
	// prober asked too late or was answered too late.
	Gap = "gap"
	// Cluster: Value is the cluster_id that an unsealed pod gives.
	Cluster = "cluster"
	// Index: Value is the raft index that a pod has applied, once in IndexEvery and
	// whenever it went back.
	Index = "index"
	// Term: Value is the raft term of an active pod.
	Term = "term"
)

// IndexEvery is how often a raft index that grows is reported.
const IndexEvery = time.Second

// Blind is after how many intervals without knowledge of a pod there is a gap.
const Blind = 5

// Sample is a change of what a pod says of itself, or a gap in it.
type Sample struct {
	// N numbers samples from 1.
	N int64 `json:"n"`
	// At is when the answer arrived or, for a pod that did not answer, when
	// it was asked; in ns since 1970. Of a gap: when it began.
	At int64 `json:"at"`
	// For is how long a gap lasted, in ns; 0 for other kinds.
	For int64 `json:"for,omitempty"`
	// Pod is who was asked, Kind what about.
	Pod  string `json:"pod"`
	Kind string `json:"kind"`
	// Value is the new state. Detail says whom a standby knows to be active,
	// or why there is no answer.
	Value  string `json:"value"`
	Detail string `json:"detail,omitempty"`
}

// Ticker is a clock that never jumps: the wall clock, read once, and the
// monotonic time that passed since.
type Ticker struct{ base time.Time }

// NewTicker starts a clock.
func NewTicker() Ticker { return Ticker{base: time.Now()} }

// Now returns ns since 1970.
func (t Ticker) Now() int64 { return t.At(time.Now()) }

// At translates an instant that has a monotonic reading.
func (t Ticker) At(at time.Time) int64 {
	return t.base.UnixNano() + int64(at.Sub(t.base))
}
