// Package agent is the prober's control API: it starts and stops the load and
// the sampler, and hands out what they saw.
package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/vaultproof/vaultproof/pkg/probe/internal/feed"
	"github.com/vaultproof/vaultproof/pkg/probe/internal/load"
	"github.com/vaultproof/vaultproof/pkg/probe/internal/sample"
	"github.com/vaultproof/vaultproof/pkg/probe/internal/wire"
)

const (
	maxRecords = 1_000_000 // kept for a suite that lost its connection: some 300 MB
	maxSamples = 200_000
	page       = 5_000       // entries in one answer
	longPoll   = time.Second // how long an answer waits for news
	maxBody    = 1 << 20     // bytes of a request
)

// Agent is the state behind the API.
type Agent struct {
	ctx     context.Context // of the process
	log     *slog.Logger
	clock   wire.Ticker
	records *feed.Feed[wire.Record]
	samples *feed.Feed[wire.Sample]

	mu      sync.Mutex
	load    *load.Load
	sampler *sample.Sampler
	stop    context.CancelFunc // ends the load and the sampler
	done    chan struct{}      // closed when both have ended
}

// New makes an agent whose work ends with ctx.
func New(ctx context.Context, log *slog.Logger) *Agent {
	return &Agent{
		ctx: ctx, log: log, clock: wire.NewTicker(),
		records: feed.New[wire.Record](maxRecords), samples: feed.New[wire.Sample](maxSamples),
	}
}

// Handler serves the API.
func (a *Agent) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+wire.PathHealth, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	mux.HandleFunc("GET "+wire.PathClock, func(w http.ResponseWriter, _ *http.Request) { answer(w, wire.Clock{Now: a.clock.Now()}) })
	mux.HandleFunc("POST "+wire.PathStart, a.handleStart)
	mux.HandleFunc("PUT "+wire.PathPods, a.handlePods)
	mux.HandleFunc("GET "+wire.PathRecords, func(w http.ResponseWriter, r *http.Request) { serve(w, r, a.records) })
	mux.HandleFunc("GET "+wire.PathSamples, func(w http.ResponseWriter, r *http.Request) { serve(w, r, a.samples) })
	mux.HandleFunc("POST "+wire.PathStop, a.handleStop)
	mux.HandleFunc("POST "+wire.PathFinal, a.handleFinal)
	return mux
}

func (a *Agent) handleStart(w http.ResponseWriter, r *http.Request) {
	var cfg wire.Config
	if !decode(w, r, &cfg) {
		return
	}
	cfg = cfg.WithDefaults()
	if err := cfg.Validate(); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.load != nil {
		http.Error(w, "the prober has started already", http.StatusConflict)
		return
	}
	ld, err := load.New(cfg, a.clock, func(rec wire.Record) {
		a.records.Add(func(n int64) wire.Record { rec.N = n; return rec })
	})
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	sampler, err := sample.New(cfg, a.clock, func(s wire.Sample) {
		a.samples.Add(func(n int64) wire.Sample { s.N = n; return s })
	})
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	ctx, stop := context.WithCancel(a.ctx)
	a.load, a.sampler, a.stop, a.done = ld, sampler, stop, make(chan struct{})
	go func(done chan struct{}) {
		defer close(done)
		var both sync.WaitGroup
		both.Go(func() { ld.Run(ctx) })
		both.Go(func() { sampler.Run(ctx) })
		both.Wait()
	}(a.done)
	a.log.Info("started", "address", cfg.Address, "rate", cfg.Rate, "keys", cfg.Keys, "pods", len(cfg.Pods))
	w.WriteHeader(http.StatusNoContent)
}

func (a *Agent) handlePods(w http.ResponseWriter, r *http.Request) {
	var pods wire.Pods
	if !decode(w, r, &pods) {
		return
	}
	a.mu.Lock()
	ld, sampler := a.load, a.sampler
	a.mu.Unlock()
	if sampler == nil {
		http.Error(w, "the prober has not started", http.StatusConflict)
		return
	}
	ld.SetPods(pods)
	sampler.SetPods(pods)
	w.WriteHeader(http.StatusNoContent)
}

func (a *Agent) handleStop(w http.ResponseWriter, r *http.Request) {
	if !a.finish(r.Context()) {
		http.Error(w, "the prober has not started", http.StatusConflict)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// finish ends the load and waits for the answers in flight. It returns false
// when there is no load.
func (a *Agent) finish(ctx context.Context) bool {
	a.mu.Lock()
	stop, done := a.stop, a.done
	a.mu.Unlock()
	if stop == nil {
		return false
	}
	stop()
	select {
	case <-done:
	case <-ctx.Done():
	}
	return true
}

func (a *Agent) handleFinal(w http.ResponseWriter, r *http.Request) {
	if !a.finish(r.Context()) {
		http.Error(w, "the prober has not started", http.StatusConflict)
		return
	}
	a.mu.Lock()
	ld := a.load
	a.mu.Unlock()
	final, err := ld.Final(r.Context())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	answer(w, final)
}

// serve answers with the entries after ?after=N, one JSON object a line.
func serve[T any](w http.ResponseWriter, r *http.Request, f *feed.Feed[T]) {
	after := int64(0)
	if text := r.URL.Query().Get("after"); text != "" {
		var err error
		if after, err = strconv.ParseInt(text, 10, 64); err != nil {
			http.Error(w, fmt.Sprintf("after=%q is no number", text), http.StatusBadRequest)
			return
		}
	}
	f.Forget(after) // it would not ask so if it had them not
	items, dropped := f.After(r.Context(), after, page, longPoll)
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.Header().Set(wire.HeaderDropped, strconv.FormatInt(dropped, 10))
	enc := json.NewEncoder(w)
	for i := range items {
		if err := enc.Encode(&items[i]); err != nil {
			return // the reader went away; it will ask again
		}
	}
}

func decode(w http.ResponseWriter, r *http.Request, into any) bool {
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	dec.DisallowUnknownFields()
	err := dec.Decode(into)
	if err == nil && dec.Decode(&struct{}{}) != io.EOF {
		err = errors.New("more than one JSON value")
	}
	if err != nil {
		// The text of a JSON error may quote the input, and the input may hold
		// a token.
		http.Error(w, "the request is not the JSON that was expected", http.StatusBadRequest)
		return false
	}
	return true
}

func answer(w http.ResponseWriter, value any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(value) // an error means that the reader left
}
