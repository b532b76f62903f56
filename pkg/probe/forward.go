package probe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"
	"k8s.io/streaming/pkg/httpstream"

	"github.com/vaultproof/vaultproof/pkg/probe/internal/wire"
)

// tunnel opens connections to a port of a pod through the API server. Unlike a
// port-forward of kubectl it listens on no local port, which anyone on this
// machine could use; and it needs no care when it breaks, since the next dial
// makes a new one.
type tunnel struct {
	dialer httpstream.Dialer
	log    *slog.Logger

	mu   sync.Mutex
	conn httpstream.Connection
	id   int
}

// forward prepares a link to the prober's control API. Nothing is sent yet.
func forward(config *rest.Config, client kubernetes.Interface, namespace, pod string, log *slog.Logger) (*link, error) {
	target := client.CoreV1().RESTClient().Post().Resource("pods").Namespace(namespace).Name(pod).SubResource("portforward").URL()
	transport, upgrader, err := spdy.RoundTripperFor(config)
	if err != nil {
		return nil, fmt.Errorf("preparing the port-forward to %s/%s: %w", namespace, pod, err)
	}
	old := spdy.NewDialerForStreaming(upgrader, &http.Client{Transport: transport}, http.MethodPost, target)
	modern, err := portforward.NewSPDYOverWebsocketDialerForStreaming(target, config)
	if err != nil {
		return nil, fmt.Errorf("preparing the port-forward to %s/%s: %w", namespace, pod, err)
	}
	t := &tunnel{log: log, dialer: portforward.NewFallbackDialerForStreaming(modern, old, refusesWebSocket)}
	return newLink(t.dial, t.close), nil
}

// refusesWebSocket tells whether an API server, or a proxy before it, may speak
// SPDY only. The WebSocket dialer wraps its errors in the types of k8s.io/streaming,
// which the helpers of apimachinery of the same names do not know.
func refusesWebSocket(err error) bool {
	return httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err)
}

// dial opens one connection. It is the DialContext of an HTTP transport, whose
// network and address do not matter here.
func (t *tunnel) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	opened := begin(t.open) // the dialer in it knows no context
	select {
	case r := <-opened:
		return r.conn, r.err
	case <-ctx.Done():
		go discard(opened)
		return nil, ctx.Err()
	}
}

// opening is how it went to open a connection.
type opening struct {
	conn net.Conn
	err  error
}

func begin(open func() (net.Conn, error)) <-chan opening {
	opened := make(chan opening, 1)
	go func() {
		conn, err := open()
		opened <- opening{conn, err}
	}()
	return opened
}

// discard closes a connection that comes when nobody wants it any more.
func discard(opened <-chan opening) {
	if r := <-opened; r.conn != nil {
		_ = r.conn.Close()
	}
}

func (t *tunnel) open() (net.Conn, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.conn != nil {
		select {
		case <-t.conn.CloseChan():
			t.conn = nil
		default:
		}
	}
	if t.conn == nil {
		conn, _, err := t.dialer.Dial(portforward.PortForwardProtocolV1Name)
		if err != nil {
			return nil, fmt.Errorf("opening the port-forward: %w", err)
		}
		t.conn = conn
	}
	t.id++
	stream, err := t.stream(t.id)
	if err != nil {
		_ = t.conn.Close() // whatever is wrong with it, the next dial makes another
		t.conn = nil
		return nil, fmt.Errorf("opening a connection through the port-forward: %w", err)
	}
	return stream, nil
}

// streamPatience is how long a port-forward that is up may take to open a connection
// through it. The library would wait for half a minute if it broke just then.
const streamPatience = 5 * time.Second

// stream opens a connection through the port-forward, unless that breaks meanwhile.
func (t *tunnel) stream(id int) (net.Conn, error) {
	conn := t.conn
	opened := begin(func() (net.Conn, error) { return openStream(conn, id, t.log) })
	patience := time.NewTimer(streamPatience)
	defer patience.Stop()
	select {
	case r := <-opened:
		return r.conn, r.err
	case <-conn.CloseChan():
		go discard(opened)
		return nil, errors.New("the port-forward broke")
	case <-patience.C:
		go discard(opened)
		return nil, fmt.Errorf("no answer within %s", streamPatience)
	}
}

func (t *tunnel) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.conn != nil {
		_ = t.conn.Close()
		t.conn = nil
	}
}

// openStream opens the pair of streams that make one connection.
func openStream(conn httpstream.Connection, id int, log *slog.Logger) (net.Conn, error) {
	headers := http.Header{}
	headers.Set(corev1.PortHeader, strconv.Itoa(wire.Port))
	headers.Set(corev1.PortForwardRequestIDHeader, strconv.Itoa(id))
	headers.Set(corev1.StreamType, corev1.StreamTypeError)
	faults, err := conn.CreateStream(headers)
	if err != nil {
		return nil, err
	}
	_ = faults.Close() // nothing is sent on it
	headers.Set(corev1.StreamType, corev1.StreamTypeData)
	data, err := conn.CreateStream(headers)
	if err != nil {
		conn.RemoveStreams(faults)
		return nil, err
	}
	s := &streamConn{Stream: data, conn: conn, faults: faults}
	go func() {
		text, err := io.ReadAll(faults)
		if err == nil && len(text) > 0 {
			log.Debug("port-forward to the prober broke", "error", string(text))
			_ = s.Close()
		}
	}()
	return s, nil
}

// streamConn is a stream dressed as a net.Conn. Deadlines are the business of
// the HTTP client, which closes it.
type streamConn struct {
	httpstream.Stream
	conn   httpstream.Connection
	faults httpstream.Stream
	once   sync.Once
}

func (s *streamConn) Close() error {
	var err error
	s.once.Do(func() {
		err = errors.Join(s.Reset(), s.faults.Reset())
		s.conn.RemoveStreams(s.Stream, s.faults)
	})
	return err
}

func (s *streamConn) LocalAddr() net.Addr              { return streamAddr{} }
func (s *streamConn) RemoteAddr() net.Addr             { return streamAddr{} }
func (s *streamConn) SetDeadline(time.Time) error      { return nil }
func (s *streamConn) SetReadDeadline(time.Time) error  { return nil }
func (s *streamConn) SetWriteDeadline(time.Time) error { return nil }

type streamAddr struct{}

func (streamAddr) Network() string { return "portforward" }
func (streamAddr) String() string  { return "prober" }
