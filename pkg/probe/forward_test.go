package probe

import (
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/streaming/pkg/httpstream"
	"k8s.io/streaming/pkg/httpstream/spdy"

	"github.com/vaultproof/vaultproof/pkg/probe/internal/agent"
	"github.com/vaultproof/vaultproof/pkg/probe/internal/wire"
)

// apiServer serves the portforward subresource of one pod as an API server
// that speaks SPDY only, and leads every connection to backend.
type apiServer struct {
	t       *testing.T
	backend string
	opened  atomic.Int32 // port-forwards
	fault   atomic.Value // string: what the error stream says

	mu   sync.Mutex
	conn httpstream.Connection
}

func (a *apiServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/api/v1/namespaces/ns/pods/prober-x/portforward" {
		http.NotFound(w, r)
		return
	}
	if !strings.EqualFold(r.Header.Get("Upgrade"), "SPDY/3.1") {
		http.Error(w, "only SPDY is spoken here", http.StatusForbidden)
		return
	}
	if _, err := httpstream.Handshake(r, w, []string{portforward.PortForwardProtocolV1Name}); err != nil {
		return
	}
	streams := make(chan httpstream.Stream, 16)
	conn := spdy.NewResponseUpgrader().UpgradeResponse(w, r, func(s httpstream.Stream, _ <-chan struct{}) error {
		streams <- s
		return nil
	})
	if conn == nil {
		return
	}
	defer conn.Close()
	a.opened.Add(1)
	a.mu.Lock()
	a.conn = conn
	a.mu.Unlock()
	faults := map[string]httpstream.Stream{}
	for {
		select {
		case s := <-streams:
			id := s.Headers().Get(corev1.PortForwardRequestIDHeader)
			if s.Headers().Get(corev1.StreamType) == corev1.StreamTypeError {
				faults[id] = s
				continue
			}
			if port := s.Headers().Get(corev1.PortHeader); port != "7070" {
				a.t.Errorf("a connection to port %s was asked for", port)
			}
			go a.carry(s, faults[id])
		case <-conn.CloseChan():
			return
		}
	}
}

func (a *apiServer) carry(data, faults httpstream.Stream) {
	defer faults.Close()
	if text, _ := a.fault.Load().(string); text != "" {
		_, _ = io.WriteString(faults, text)
		return
	}
	conn, err := net.Dial("tcp", a.backend)
	if err != nil {
		_, _ = io.WriteString(faults, err.Error())
		return
	}
	defer conn.Close()
	go func() { _, _ = io.Copy(conn, data) }()
	_, _ = io.Copy(data, conn)
	_ = data.Close()
}

func (a *apiServer) hangUp() {
	a.mu.Lock()
	defer a.mu.Unlock()
	_ = a.conn.Close()
}

// deaf is a port-forward that never answers, and has broken once closed is.
type deaf struct {
	httpstream.Connection
	closed chan bool
	asked  chan struct{}
}

func (d *deaf) CreateStream(http.Header) (httpstream.Stream, error) {
	close(d.asked)
	select {} // as the library, for longer than anybody waits
}
func (d *deaf) CloseChan() <-chan bool { return d.closed }

func TestAPortForwardThatBreaksWhileAConnectionIsOpenedIsGivenUpAtOnce(t *testing.T) {
	conn := &deaf{closed: make(chan bool), asked: make(chan struct{})}
	tunnel := &tunnel{conn: conn, log: slog.New(slog.DiscardHandler)}
	go func() {
		<-conn.asked
		close(conn.closed)
	}()
	began := time.Now()
	if c, err := tunnel.stream(1); err == nil || time.Since(began) >= streamPatience {
		t.Errorf("a connection (%v) and the error %v after %s, want an error at once", c, err, time.Since(began))
	}
}

func TestForward(t *testing.T) {
	prober := httptest.NewServer(agent.New(t.Context(), slog.New(slog.DiscardHandler)).Handler())
	defer prober.Close()
	api := &apiServer{t: t, backend: prober.Listener.Addr().String()}
	server := httptest.NewServer(api)
	defer server.Close()
	config := &rest.Config{Host: server.URL}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	link, err := forward(config, client, "ns", "prober-x", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer link.close()
	ctx := t.Context()
	if err := link.await(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := synchronise(ctx, link); err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for range 8 { // at a time
		group.Go(func() {
			if _, _, err := fetch[wire.Record](ctx, link, wire.PathRecords, 0); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if n := api.opened.Load(); n != 1 {
		t.Errorf("%d port-forwards were opened, want one for all connections", n)
	}

	api.hangUp() // and the next call makes a new one
	eventually(t, "an answer after the port-forward broke", func() bool { return link.send(ctx, "GET", wire.PathHealth, nil, nil) == nil })
	if n := api.opened.Load(); n != 2 {
		t.Errorf("%d port-forwards were opened, want two", n)
	}

	api.fault.Store("error forwarding port 7070: connection refused")
	began := time.Now()
	link.http.CloseIdleConnections()
	if err := link.send(ctx, "GET", wire.PathHealth, nil, nil); err == nil || time.Since(began) > 5*time.Second {
		t.Errorf("a port that nobody serves says %v after %s, want an error at once", err, time.Since(began))
	}
	api.fault.Store("")
	eventually(t, "an answer after a failed connection", func() bool { return link.send(ctx, "GET", wire.PathHealth, nil, nil) == nil })

	other, err := forward(config, client, "ns", "no-such-pod", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := other.send(ctx, "GET", wire.PathHealth, nil, nil); err == nil {
		t.Error("a pod that does not exist answered")
	}
}
