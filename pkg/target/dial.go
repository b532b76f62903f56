package target

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	//lint:ignore SA1019 the type that client-go's own dialers return
	"k8s.io/apimachinery/pkg/util/httpstream"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"
)

// DialPod opens a connection to a port of a pod through the API server's
// port-forward, for runners that are outside the pod network. No local port is
// opened. The pod sees a connection from its own loopback address.
func (t *Target) DialPod(ctx context.Context, pod string, port int) (net.Conn, error) {
	transport, upgrader, err := spdy.RoundTripperFor(t.Config)
	if err != nil {
		return nil, fmt.Errorf("preparing port-forward to pod %s: %w", pod, err)
	}
	address := t.Client.CoreV1().RESTClient().Post().
		Resource("pods").Namespace(t.Namespace).Name(pod).SubResource("portforward").URL()
	dialer := spdy.NewDialer(upgrader, &http.Client{Transport: transport}, http.MethodPost, address)

	type dialed struct {
		conn httpstream.Connection
		err  error
	}
	// The SPDY dialer takes no context: dial aside, and give up on it when
	// the context ends.
	result := make(chan dialed, 1)
	go func() {
		conn, _, err := dialer.Dial(portforward.PortForwardProtocolV1Name)
		result <- dialed{conn, err}
	}()
	select {
	case d := <-result:
		if d.err != nil {
			return nil, fmt.Errorf("port-forward to pod %s/%s: %w", t.Namespace, pod, d.err)
		}
		conn, err := newForwarded(d.conn, pod, port)
		if err != nil {
			d.conn.Close()
			return nil, err
		}
		return conn, nil
	case <-ctx.Done():
		go func() {
			if d := <-result; d.err == nil {
				d.conn.Close()
			}
		}()
		return nil, fmt.Errorf("port-forward to pod %s/%s: %w", t.Namespace, pod, ctx.Err())
	}
}

// forwarded is one forwarded TCP connection as a net.Conn.
type forwarded struct {
	httpstream.Stream
	conn httpstream.Connection
	addr podAddr

	mu     sync.Mutex
	refuse error // what the kubelet said on the error stream
	done   chan struct{}

	closeOnce sync.Once
	timer     *time.Timer
}

func newForwarded(conn httpstream.Connection, pod string, port int) (*forwarded, error) {
	headers := http.Header{}
	headers.Set(corev1.StreamType, corev1.StreamTypeError)
	headers.Set(corev1.PortHeader, strconv.Itoa(port))
	headers.Set(corev1.PortForwardRequestIDHeader, "0")
	errorStream, err := conn.CreateStream(headers)
	if err != nil {
		return nil, fmt.Errorf("opening the error stream of the port-forward to %s: %w", pod, err)
	}
	errorStream.Close() // we never write to it
	headers.Set(corev1.StreamType, corev1.StreamTypeData)
	data, err := conn.CreateStream(headers)
	if err != nil {
		return nil, fmt.Errorf("opening the data stream of the port-forward to %s: %w", pod, err)
	}
	f := &forwarded{Stream: data, conn: conn, addr: podAddr(net.JoinHostPort(pod, strconv.Itoa(port))), done: make(chan struct{})}
	go func() {
		defer close(f.done)
		if message, err := io.ReadAll(errorStream); err == nil && len(message) > 0 {
			f.mu.Lock()
			f.refuse = errors.New(string(message))
			f.mu.Unlock()
			f.Close()
		}
	}()
	return f, nil
}

// Read prefers the kubelet's reason ("connection refused") to a bare EOF.
func (f *forwarded) Read(p []byte) (int, error) {
	n, err := f.Stream.Read(p)
	if n > 0 || err == nil {
		return n, err
	}
	select {
	case <-f.done:
	case <-time.After(100 * time.Millisecond): // the reason travels on another stream
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.refuse != nil {
		return 0, f.refuse
	}
	return 0, err
}

func (f *forwarded) Close() error {
	var err error
	f.closeOnce.Do(func() {
		f.mu.Lock()
		if f.timer != nil {
			f.timer.Stop()
		}
		f.mu.Unlock()
		_ = f.Reset()
		err = f.conn.Close()
	})
	return err
}

func (f *forwarded) LocalAddr() net.Addr  { return f.addr }
func (f *forwarded) RemoteAddr() net.Addr { return f.addr }

// SetDeadline closes the connection at the deadline: SPDY streams have none.
func (f *forwarded) SetDeadline(at time.Time) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.timer != nil {
		f.timer.Stop()
		f.timer = nil
	}
	if !at.IsZero() {
		f.timer = time.AfterFunc(time.Until(at), func() { f.Close() })
	}
	return nil
}

func (f *forwarded) SetReadDeadline(at time.Time) error  { return f.SetDeadline(at) }
func (f *forwarded) SetWriteDeadline(at time.Time) error { return f.SetDeadline(at) }

type podAddr string

func (a podAddr) Network() string { return "port-forward" }
func (a podAddr) String() string  { return string(a) }
