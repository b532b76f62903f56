package fence

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vaultproof/vaultproof/bootstrap/kube"
	"github.com/vaultproof/vaultproof/bootstrap/registrar"
	"github.com/vaultproof/vaultproof/bootstrap/status"
	"github.com/vaultproof/vaultproof/bootstrap/vault"
)

// latency of every call in the world.
const latency = 2 * time.Millisecond

// world is three pods with their Vaults, an API server, and the network.
type world struct {
	t      *testing.T
	mu     sync.Mutex
	pods   map[string]kube.Pod
	vaults map[string]*fakeVault
	cut    map[[2]string]bool // from one pod to another, or to "api"
	refuse error              // of the API server, if set
	// refuseOthers makes it refuse all labels but vault-active.
	refuseOthers bool
	writes       []string // that changed something
	wroteAt      []time.Time
	// before is called with each write before it lands, without the lock.
	before func(by, pod, value string)
	vers   int
	log    safeBuffer
	boards map[string]*status.Board
	// said is where each Vault announces its labels; without, it labels its pod itself.
	said  map[string]*registrar.Memory
	moved chan struct{} // closed and replaced when a Vault changes
	reads atomic.Int32  // of pods
}

// fakeVault is what one Vault says.
type fakeVault struct {
	active       bool
	names        string // the active one, as this one knows
	sealed       bool
	dead, hanged bool
	late         time.Duration // of its answers
	version      string        // 1.21.1+ent if empty
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, pods: map[string]kube.Pod{}, vaults: map[string]*fakeVault{}, cut: map[[2]string]bool{}, boards: map[string]*status.Board{}, moved: make(chan struct{})}
	for i := range 3 {
		name := fmt.Sprintf("vault-%d", i)
		w.vaults[name] = &fakeVault{}
		w.pods[name] = kube.Pod{Name: name, ResourceVersion: "0", Labels: map[string]string{}}
		w.put(name, "false")
	}
	return w
}

func url(pod string) string {
	if pod == "" {
		return ""
	}
	return "https://" + pod + ".vault-internal:8200"
}

// put sets a label as Vault or an admin does; without a change there is no new
// version.
func (w *world) put(pod, value string) bool { return w.label(pod, Label, value) }

func (w *world) label(pod, key, value string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := w.pods[pod]
	if p.Labels[key] == value {
		return false
	}
	p.Labels = maps.Clone(p.Labels)
	p.Labels[key] = value
	w.vers++
	p.ResourceVersion = fmt.Sprint(w.vers)
	w.pods[pod] = p
	return true
}

func (w *world) labels() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var on []string
	for i := range len(w.pods) {
		if name := fmt.Sprintf("vault-%d", i); w.pods[name].Labels[Label] == "true" {
			on = append(on, name)
		}
	}
	return strings.Join(on, " ")
}

// elect makes pod active, known to the others, with its label published.
func (w *world) elect(pod string, known ...string) {
	w.set(pod, func(v *fakeVault) { v.active, v.names = true, pod })
	for _, other := range known {
		w.set(other, func(v *fakeVault) { v.active, v.names = false, pod })
	}
	w.says(pod, "true")
}

// register has all Vaults speak to a registrar.
func (w *world) register() {
	w.said = map[string]*registrar.Memory{}
	for name := range w.pods {
		w.said[name] = registrar.NewMemory()
	}
}

// says has a Vault tell whether it is active.
func (w *world) says(pod, active string) {
	if w.said == nil {
		w.put(pod, active)
		return
	}
	w.said[pod].Announce(map[string]string{Label: active})
}

func (w *world) set(pod string, change func(*fakeVault)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change(w.vaults[pod])
	close(w.moved)
	w.moved = make(chan struct{})
}

// fence starts the fence of a pod and gives it back.
func (w *world) fence(pod string) *Fence {
	w.t.Helper()
	board := status.NewBoard(pod)
	w.boards[pod] = board
	o := Options{Pod: pod, Registration: w.said[pod], Kube: api{w, pod}, Self: asker{w, pod, pod}, Peers: map[string]LeaderAsker{}, Board: board,
		Log: slog.New(slog.NewTextHandler(&w.log, nil))}
	for i := range len(w.pods) {
		name := fmt.Sprintf("vault-%d", i)
		o.Pods = append(o.Pods, name)
		if name != pod {
			o.Peers[name] = asker{w, pod, name}
		}
	}
	f, err := New(o)
	if err != nil {
		w.t.Fatal(err)
	}
	return f
}

// run runs a fence until the test ends.
func (w *world) run(f *Fence) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { f.Run(ctx); close(done) }()
	w.t.Cleanup(func() { cancel(); <-done })
}

func (w *world) wrote() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]string(nil), w.writes...)
}

func (w *world) metrics(pod string) string {
	rec := httptest.NewRecorder()
	w.boards[pod].Handler().ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	raw, _ := io.ReadAll(rec.Body)
	return string(raw)
}

// api is the API server as one pod reaches it.
type api struct {
	w  *world
	by string
}

func (a api) reach(ctx context.Context) error {
	a.w.mu.Lock()
	cut, refuse := a.w.cut[[2]string{a.by, "api"}], a.w.refuse
	a.w.mu.Unlock()
	wait := latency
	if cut {
		wait, refuse = 3*time.Second, kube.ErrUnavailable
	}
	select {
	case <-time.After(wait):
		return refuse
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (a api) Pod(ctx context.Context, name string) (kube.Pod, error) {
	if err := a.reach(ctx); err != nil {
		return kube.Pod{}, err
	}
	a.w.mu.Lock()
	defer a.w.mu.Unlock()
	a.w.reads.Add(1)
	p, ok := a.w.pods[name]
	if !ok || p.ResourceVersion == "gone" {
		return kube.Pod{}, kube.ErrNotFound
	}
	return p, nil
}

func (a api) SetLabels(ctx context.Context, p kube.Pod, labels map[string]string) error {
	if err := a.reach(ctx); err != nil {
		return err
	}
	value, active := labels[Label]
	if active && a.w.before != nil {
		a.w.before(a.by, p.Name, value)
	}
	a.w.mu.Lock()
	now, refuse := a.w.pods[p.Name].ResourceVersion, a.w.refuseOthers
	a.w.mu.Unlock()
	switch {
	case now != p.ResourceVersion:
		return kube.ErrConflict
	case !active && refuse:
		return kube.ErrInvalid
	}
	for key, value := range labels {
		a.w.label(p.Name, key, value)
	}
	if !active {
		return nil
	}
	a.w.mu.Lock()
	defer a.w.mu.Unlock()
	a.w.writes = append(a.w.writes, fmt.Sprintf("%s: %s=%s", a.by, p.Name, value))
	a.w.wroteAt = append(a.w.wroteAt, time.Now())
	return nil
}

// asker is one Vault as a pod reaches it.
type asker struct {
	w        *world
	from, to string
}

func (a asker) state(ctx context.Context) (fakeVault, error) {
	a.w.mu.Lock()
	v, cut, moved := *a.w.vaults[a.to], a.w.cut[[2]string{a.from, a.to}], a.w.moved
	a.w.mu.Unlock()
	if cut || v.hanged {
		select {
		case <-moved: // as a Vault that held its lock answers when it is done
			return a.state(ctx)
		case <-ctx.Done():
			return v, ctx.Err()
		}
	}
	if v.dead {
		return v, fmt.Errorf("asking: %w", &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)})
	}
	time.Sleep(latency + v.late)
	return v, nil
}

func (a asker) Leader(ctx context.Context) (vault.Leader, error) {
	v, err := a.state(ctx)
	if err == nil && v.sealed {
		err = fmt.Errorf("vault is sealed")
	}
	if err != nil {
		return vault.Leader{}, err
	}
	return vault.Leader{Self: v.active, Address: url(v.names)}, nil
}

func (a asker) SealStatus(ctx context.Context) (vault.Seal, error) {
	v, err := a.state(ctx)
	return vault.Seal{Initialised: true, Sealed: v.sealed}, err
}

func (a asker) Health(ctx context.Context) (vault.Health, error) {
	v, err := a.state(ctx)
	return vault.Health{Initialised: true, Sealed: v.sealed, Active: v.active && !v.sealed, Version: cmp.Or(v.version, "1.21.1+ent")}, err
}

// in runs a test in a world with its own clock.
func in(t *testing.T, test func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(t, newWorld(t)) })
}

type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// slow is a Vault whose answer is noticed late.
type slow struct {
	Own
	by time.Duration
}

func (s slow) Leader(ctx context.Context) (vault.Leader, error) {
	time.Sleep(s.by)
	return s.Own.Leader(context.WithoutCancel(ctx))
}

// then does something once a Vault has answered.
type then struct {
	LeaderAsker
	do func()
}

func (a then) Leader(ctx context.Context) (vault.Leader, error) {
	l, err := a.LeaderAsker.Leader(ctx)
	a.do()
	return l, err
}
