// Package sample asks every Vault pod, again and again, what it thinks it is:
// active or standby, sealed or not. It speaks to the pods' IPs, past the
// Service, and reports changes only, and times of which it knows nothing.
package sample

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/vaultproof/vaultproof/pkg/probe/internal/wire"
)

// What a pod can be.
const (
	Active      = "active"
	Standby     = "standby"
	Sealed      = "sealed"
	Unsealed    = "unsealed"
	Unreachable = "unreachable"
)

// Sampler samples a set of pods that may change while it runs.
type Sampler struct {
	cfg   wire.Config
	clock wire.Ticker
	emit  func(wire.Sample)
	tls   *tls.Config

	mu     sync.Mutex
	ctx    context.Context // of Run, nil before
	pods   wire.Pods
	loops  map[string]loop
	states map[string]map[string]state // pod, kind
	known  map[string]int64            // until when it is known whether a pod is active
	index  map[string]reached          // by pod
	wg     sync.WaitGroup
}

type loop struct {
	ip   string
	stop context.CancelFunc
}

type state struct{ value, detail string }

// New prepares a sampler; emit may be called from many goroutines.
func New(cfg wire.Config, clock wire.Ticker, emit func(wire.Sample)) (*Sampler, error) {
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(cfg.CAPEM) {
		return nil, errors.New("reading the CA of Vault: it holds no PEM certificate")
	}
	return &Sampler{
		cfg: cfg, clock: clock, emit: emit, pods: cfg.Pods,
		tls:    &tls.Config{RootCAs: roots, ServerName: cfg.ServerName, MinVersion: tls.VersionTLS12},
		loops:  map[string]loop{},
		states: map[string]map[string]state{},
		known:  map[string]int64{},
		index:  map[string]reached{},
	}, nil
}

// Run samples until ctx is done.
func (s *Sampler) Run(ctx context.Context) {
	s.mu.Lock()
	s.ctx = ctx
	s.reconcile()
	s.mu.Unlock()
	<-ctx.Done()
	s.wg.Wait()
}

// SetPods replaces the set of pods. A pod that is no longer in it counts as
// unreachable; one whose IP changed is asked at its new one.
func (s *Sampler) SetPods(pods wire.Pods) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pods = pods
	if s.ctx != nil && s.ctx.Err() == nil {
		s.reconcile()
	}
}

func (s *Sampler) reconcile() {
	for name, l := range s.loops {
		ip, wanted := s.pods[name]
		if wanted && ip == l.ip {
			continue
		}
		l.stop()
		delete(s.loops, name)
		if !wanted {
			at := s.clock.Now()
			s.set(at, name, wire.Leader, state{Unreachable, "the pod is gone"})
			s.set(at, name, wire.Seal, state{Unreachable, "the pod is gone"})
			delete(s.known, name)
		}
	}
	for name, ip := range s.pods {
		if _, running := s.loops[name]; running || ip == "" {
			continue
		}
		ctx, stop := context.WithCancel(s.ctx)
		s.loops[name] = loop{ip: ip, stop: stop}
		s.wg.Go(func() { s.watch(ctx, name, ip) })
	}
}

// set records a state and reports it if it is new. The caller holds s.mu.
func (s *Sampler) set(at int64, pod, kind string, now state) {
	if s.states[pod] == nil {
		s.states[pod] = map[string]state{}
	}
	old, known := s.states[pod][kind]
	// Why a pod does not answer may change by the sample; that it does not is
	// one state.
	if known && (old == now || (old.value == now.value && now.value == Unreachable)) {
		return
	}
	s.states[pod][kind] = now
	s.emit(wire.Sample{At: at, Pod: pod, Kind: kind, Value: now.value, Detail: now.detail})
}

// watch asks one pod at one IP, one question of a kind at a time.
func (s *Sampler) watch(ctx context.Context, pod, ip string) {
	dialer := &net.Dialer{Timeout: s.cfg.SampleTimeout, KeepAlive: -1}
	transport := &http.Transport{
		DialContext: dialer.DialContext, TLSClientConfig: s.tls.Clone(),
		TLSNextProto:        map[string]func(string, *tls.Conn) http.RoundTripper{},
		MaxIdleConnsPerHost: 2, IdleConnTimeout: 30 * time.Second, DisableCompression: true,
	}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}
	base := "https://" + net.JoinHostPort(ip, strconv.Itoa(s.cfg.SamplePort)) + "/v1/sys/"
	var both sync.WaitGroup
	for _, q := range []question{
		{wire.Leader, base + "leader", s.cfg.SampleEvery},
		{wire.Seal, base + "seal-status", max(s.cfg.SampleEvery, sealEvery)},
		{wire.Term, base + "storage/raft/autopilot/state", max(s.cfg.SampleEvery, termEvery)},
	} {
		both.Go(func() {
			ticker := time.NewTicker(q.every)
			defer ticker.Stop()
			for {
				s.ask(ctx, client, pod, q)
				select {
				case <-ticker.C:
				case <-ctx.Done():
					return
				}
			}
		})
	}
	both.Wait()
}

// sealEvery is how often a pod is asked whether it is sealed: nothing is routed by
// it, so that it may be known later than who is active.
const sealEvery = 50 * time.Millisecond

// termEvery is how often an active pod is asked for its raft term, which may grow
// with an election only.
const termEvery = time.Second

// question is what a pod is asked again and again.
type question struct {
	kind, url string
	every     time.Duration
}

// ask puts one question to a pod.
func (s *Sampler) ask(ctx context.Context, client *http.Client, pod string, q question) {
	if q.kind == wire.Term {
		s.askTerm(ctx, client, pod, q)
		return
	}
	asked := s.clock.Now()
	got, err := s.answer(ctx, client, pod, q)
	answered := s.clock.Now()
	at := answered
	if err != nil {
		// The silence began no later than this question.
		got, at = said{state: state{Unreachable, short(err)}}, asked
		client.CloseIdleConnections()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	// A question that was cut off by Run's end or a change of IP says nothing.
	if ctx.Err() != nil {
		return
	}
	if q.kind == wire.Leader {
		s.follow(pod, at, answered)
	}
	s.set(at, pod, q.kind, got.state)
	if got.cluster != "" {
		s.set(at, pod, wire.Cluster, state{value: got.cluster})
	}
	if got.index > 0 {
		s.reach(at, pod, got.index)
	}
}

// follow takes note that it is known from one instant until another whether a pod
// is active, and reports the gap before it, if it is one. The caller holds s.mu.
func (s *Sampler) follow(pod string, from, until int64) {
	last, before := s.known[pod]
	if gap := from - last; before && gap > int64(wire.Blind*s.cfg.SampleEvery) {
		s.emit(wire.Sample{At: last, For: gap, Pod: pod, Kind: wire.Gap})
	}
	s.known[pod] = until
}

// said is what an answer tells.
type said struct {
	state   state
	cluster string // its id, if it was told
	index   uint64 // that raft has applied, if it was told
}

// answer reads what sys/leader or sys/seal-status says.
func (s *Sampler) answer(ctx context.Context, client *http.Client, pod string, q question) (said, error) {
	status, body, err := s.get(ctx, client, pod, q)
	if err != nil {
		return said{}, err
	}
	if q.kind == wire.Seal {
		return sealState(status, body)
	}
	return s.leaderState(status, body)
}

// get asks one pod. It is an error if another one answers.
func (s *Sampler) get(ctx context.Context, client *http.Client, pod string, q question) (status int, body []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.SampleTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, q.url, http.NoBody)
	if err != nil {
		return 0, nil, err
	}
	if q.kind == wire.Term { // which is not told to everybody
		req.Header.Set("X-Vault-Token", s.cfg.Token)
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	if body, err = io.ReadAll(io.LimitReader(resp.Body, 16<<10)); err != nil {
		return 0, nil, err
	}
	// An IP may have gone to another pod since we heard of it.
	if host := resp.Header.Get("X-Vault-Hostname"); host != "" && host != pod {
		return 0, nil, fmt.Errorf("%s answered in its place", host)
	}
	return resp.StatusCode, body, nil
}

func sealState(status int, body []byte) (said, error) {
	var got struct {
		Sealed      *bool  `json:"sealed"`
		Initialized bool   `json:"initialized"`
		Cluster     string `json:"cluster_id"`
	}
	if err := json.Unmarshal(body, &got); err != nil || got.Sealed == nil {
		return said{}, fmt.Errorf("sys/seal-status answered HTTP %d", status)
	}
	switch {
	case *got.Sealed && !got.Initialized:
		return said{state: state{Sealed, "not initialised"}}, nil
	case *got.Sealed:
		return said{state: state{value: Sealed}}, nil
	default:
		return said{state: state{value: Unsealed}, cluster: got.Cluster}, nil
	}
}

func (s *Sampler) leaderState(status int, body []byte) (said, error) {
	var got struct {
		IsSelf  *bool    `json:"is_self"`
		Address string   `json:"leader_address"`
		Applied uint64   `json:"raft_applied_index"`
		Errors  []string `json:"errors"`
	}
	err := json.Unmarshal(body, &got)
	switch {
	case err == nil && got.IsSelf != nil && *got.IsSelf:
		return said{state: state{value: Active}, index: got.Applied}, nil
	case err == nil && got.IsSelf != nil && got.Address == "":
		return said{state: state{Standby, "knows no active"}, index: got.Applied}, nil
	case err == nil && got.IsSelf != nil:
		return said{state: state{Standby, "knows " + s.podAt(got.Address)}, index: got.Applied}, nil
	case strings.Contains(strings.Join(got.Errors, " "), "sealed"):
		return said{state: state{value: Sealed}}, nil
	default:
		return said{}, fmt.Errorf("sys/leader answered HTTP %d", status)
	}
}

// podAt names the pod behind an API address: https://vault-0.vault-internal:8200
// or https://10.0.0.1:8200.
func (s *Sampler) podAt(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Hostname() == "" {
		return address
	}
	host := u.Hostname()
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, ip := range s.pods {
		if ip == host {
			return name
		}
	}
	if net.ParseIP(host) != nil {
		return host
	}
	name, _, _ := strings.Cut(host, ".")
	return name
}

// short leaves out the URL, which names the pod and the question only.
func short(err error) string {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return "no answer in time"
	}
	return err.Error()
}
