package probe

import (
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/vaultproof/vaultproof/pkg/history"
	"github.com/vaultproof/vaultproof/pkg/probe/internal/agent"
	"github.com/vaultproof/vaultproof/pkg/probe/internal/fakevault"
	"github.com/vaultproof/vaultproof/pkg/timeline"
)

// local runs a prober in this process instead of a pod. Everything but the pod
// and the port-forward is the real thing.
func local(t *testing.T, opts Options, port int) (*Prober, *fake.Clientset) {
	t.Helper()
	server := httptest.NewServer(agent.New(t.Context(), slog.New(slog.DiscardHandler)).Handler())
	t.Cleanup(server.Close)
	opts.RunID, opts.Logger = "run-1", slog.New(slog.DiscardHandler)
	opts = opts.withDefaults()
	cfg, err := opts.config()
	if err != nil {
		t.Fatal(err)
	}
	cfg.SamplePort = port
	client := fake.NewClientset(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "prober-x", Namespace: opts.Namespace}})
	dial := reach(server.Listener.Addr().String())
	p := &Prober{opts: opts, client: client, pod: "prober-x", link: newLink(dial, func() {}), pods: make(chan map[string]string, 1)}
	p.link.http.Transport = &breakable{RoundTripper: p.link.http.Transport}
	if err := p.begin(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Stop(context.WithoutCancel(t.Context())) })
	return p, client
}

// reach dials one address, whatever is asked for.
func reach(address string) func(ctx context.Context, _, _ string) (net.Conn, error) {
	return func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", address)
	}
}

func portOf(t *testing.T, address string) int {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(u.Port())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	patience := time.After(10 * time.Second)
	for !is() {
		select {
		case <-tick.C:
		case <-patience:
			t.Fatalf("%s: not within 10 s", what)
		}
	}
}

func TestProberFromStartToStop(t *testing.T) {
	vault := fakevault.New("vault-0")
	defer vault.Close()
	log := timeline.New(nil)
	p, client := local(t, Options{
		Address: vault.URL, CA: vault.CA(), ServerName: fakevault.ServerName, Token: fakevault.Token, Rate: 200, Log: log,
		Pods: map[string]string{"vault-0": "127.0.0.1"},
	}, portOf(t, vault.URL))

	started := time.Now()
	count := func(kind timeline.Kind, value string) int {
		n := 0
		for _, e := range log.Events() {
			if e.Kind == kind && (value == "" || e.Value == value) {
				n++
			}
		}
		return n
	}
	eventually(t, "operations before the fault", func() bool { return count(timeline.Operation, "vault-0") > 100 })
	eventually(t, "an active pod", func() bool { return count(timeline.Leader, "active") == 1 })

	sealed := time.Now()
	vault.Become(true, true, "")
	eventually(t, "a sealed pod", func() bool { return count(timeline.Seal, "sealed") == 1 })
	<-time.After(500*time.Millisecond - time.Since(sealed))
	vault.Become(true, false, "")
	unsealed := time.Now()
	eventually(t, "an unsealed pod", func() bool { return count(timeline.Seal, "unsealed") == 2 })
	<-time.After(1500*time.Millisecond - time.Since(unsealed))

	p.SetPods(map[string]string{"vault-1": "127.0.0.1"}) // the server says that it is vault-0
	eventually(t, "another pod to be sampled", func() bool { return count(timeline.Leader, "unreachable") == 2 })

	final, err := p.Final(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := p.Err(); err != nil {
		t.Error(err)
	}
	if pods, err := client.CoreV1().Pods(DefaultNamespace).List(t.Context(), metav1.ListOptions{}); err != nil || len(pods.Items) != 0 {
		t.Errorf("the prober's pod is left behind (%v)", err)
	}

	// Every operation of the schedule is there: one each 5 ms.
	var previous time.Time
	for _, e := range log.Events() {
		if e.Kind != timeline.Operation {
			continue
		}
		if gap := e.At.Sub(previous); !previous.IsZero() && gap != 5*time.Millisecond {
			t.Fatalf("an operation was due %s after the one before, want 5 ms", gap)
		}
		previous = e.At
	}
	if n := len(p.Ops()); n < count(timeline.Operation, "") {
		t.Errorf("%d operations in the history, %d in the timeline", n, count(timeline.Operation, ""))
	}
	w := Outage(log.Events(), started, time.Now())
	truth := unsealed.Sub(sealed)
	// A prober that cannot keep its schedule says so, and what it measured is not judged
	// here: this machine's load would be.
	switch late, off := p.Lateness(started, time.Now()), (w.Length() - truth).Abs(); {
	case late > 50*time.Millisecond:
		t.Logf("the prober was late by %s; the outage lasted %s, measured %s", late, truth, w.Length())
	case off > 20*time.Millisecond+late:
		t.Errorf("the outage lasted %s, measured %s: off by %s, want under 20 ms; the prober was late by %s", truth, w.Length(), off, late)
	case !strings.Contains(w.FirstError, "Vault is sealed"):
		t.Errorf("the first error is %q", w.FirstError)
	}
	if losses := history.Lost(p.Ops(), final); len(losses) > 0 {
		t.Errorf("lost %v", losses)
	}
	result, err := history.Linearizable(t.Context(), p.Ops())
	if err != nil || !result.OK {
		t.Errorf("the history is %s: %s (%v)", result.Verdict, result.Info, err)
	}
	text, err := json.Marshal(log.Events())
	if err != nil || strings.Contains(string(text), fakevault.Token) {
		t.Errorf("the token is in the timeline (%v)", err)
	}
}

func TestAProberThatDies(t *testing.T) {
	vault := fakevault.New("vault-0")
	defer vault.Close()
	p, _ := local(t, Options{
		Address: vault.URL, CA: vault.CA(), ServerName: fakevault.ServerName, Token: fakevault.Token, Log: timeline.New(nil),
	}, portOf(t, vault.URL))
	p.link.http.Transport.(*breakable).broken.Store(true)
	eventually(t, "the loss to be seen", func() bool { return p.pump.problem(time.Now().Add(time.Minute)) != nil })
	if err := p.pump.problem(time.Now()); err != nil {
		t.Errorf("a short silence is a problem already: %v", err)
	}
	if err := p.Stop(t.Context()); err == nil || !strings.Contains(err.Error(), "last records") {
		t.Errorf("stopping a dead prober says %v, want that records are missing", err)
	}
}

// breakable is a transport that reaches nothing once it is broken.
type breakable struct {
	http.RoundTripper
	broken atomic.Bool
}

func (b *breakable) RoundTrip(r *http.Request) (*http.Response, error) {
	if b.broken.Load() {
		return nil, context.DeadlineExceeded
	}
	return b.RoundTripper.RoundTrip(r)
}

func TestConfigurationsThatCannotWork(t *testing.T) {
	good := Options{
		RunID: "r", Address: "https://vault:8200", CA: []byte("pem"), Token: "t", Log: timeline.New(nil),
	}
	if _, err := good.withDefaults().config(); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*Options){
		"run id":      func(o *Options) { o.RunID = "" },
		"timeline":    func(o *Options) { o.Log = nil },
		"https":       func(o *Options) { o.Address = "http://vault:8200" },
		"CA":          func(o *Options) { o.CA = nil },
		"token":       func(o *Options) { o.Token = "" },
		"writes":      func(o *Options) { o.WriteShare = 2 },
		"negative":    func(o *Options) { o.Timeout = -1 },
		"rate":        func(o *Options) { o.Rate = 1e9 },
		"at least on": func(o *Options) { o.Keys = -1 },
	} {
		opts := good
		change(&opts)
		if _, err := opts.withDefaults().config(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the configuration is said to be %v, want %q", err, want)
		}
	}
	sampling := good
	sampling.Rate, sampling.Token = -1, ""
	if cfg, err := sampling.withDefaults().config(); err != nil || cfg.Rate != 0 {
		t.Errorf("sampling alone is refused: %v", err)
	}
}
