package probe

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/vaultproof/vaultproof/pkg/probe/internal/wire"
)

const (
	// callPatience bounds one call of the control API. The longest, stopping,
	// waits for operations in flight.
	callPatience = 15 * time.Second
	// retryEvery is how soon a call is repeated when the prober is out of reach.
	retryEvery = 200 * time.Millisecond
)

// link is the way to a prober's control API.
type link struct {
	http  *http.Client
	close func()
}

func newLink(dial func(ctx context.Context, network, address string) (net.Conn, error), hangUp func()) *link {
	transport := &http.Transport{DialContext: dial, MaxIdleConnsPerHost: 4, IdleConnTimeout: time.Minute}
	return &link{http: &http.Client{Transport: transport}, close: func() {
		transport.CloseIdleConnections()
		hangUp()
	}}
}

// send calls the control API. in and out are JSON values, or nil. Calls may be
// repeated by the caller, never by send.
func (l *link) send(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader = http.NoBody
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("encoding the request to the prober: %w", err)
		}
		body = bytes.NewReader(text)
	}
	if path != wire.PathFinal { // which takes as long as the caller has patience
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, callPatience)
		defer cancel()
	}
	resp, err := l.do(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if out == nil {
		return nil
	}
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
		return fmt.Errorf("reading the prober's answer: %w", err)
	}
	return nil
}

// do calls the control API and turns an answer other than success into an
// error.
func (l *link) do(ctx context.Context, method, path string, body io.Reader) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://prober"+path, body)
	if err != nil {
		return nil, fmt.Errorf("making the request to the prober: %w", err)
	}
	resp, err := l.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("asking the prober: %w", err)
	}
	if resp.StatusCode/100 != 2 {
		defer resp.Body.Close()
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 4<<10)) // what came says enough
		return nil, fmt.Errorf("the prober answered %s: %s", resp.Status, strings.TrimSpace(string(text)))
	}
	return resp, nil
}

// await waits until the prober answers.
func (l *link) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	var last error
	err := wait.PollUntilContextCancel(ctx, retryEvery, true, func(ctx context.Context) (bool, error) {
		last = l.send(ctx, http.MethodGet, wire.PathHealth, nil, nil)
		return last == nil, nil
	})
	if err != nil && last != nil {
		return last
	}
	return err
}

// fetch reads the entries after n of one of the prober's lists. dropped counts
// those that the prober had no room to keep.
func fetch[T any](ctx context.Context, l *link, path string, n int64) (items []T, dropped int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, callPatience)
	defer cancel()
	resp, err := l.do(ctx, http.MethodGet, path+"?after="+strconv.FormatInt(n, 10), http.NoBody)
	if err != nil {
		return nil, 0, err
	}
	defer resp.Body.Close()
	// A missing or broken count can only come from another program.
	if dropped, err = strconv.ParseInt(resp.Header.Get(wire.HeaderDropped), 10, 64); err != nil {
		return nil, 0, errors.New("what answers at the prober's port is no prober")
	}
	dec := json.NewDecoder(resp.Body)
	for {
		var item T
		err := dec.Decode(&item)
		if errors.Is(err, io.EOF) {
			return items, dropped, nil
		}
		if err != nil {
			return nil, 0, fmt.Errorf("reading the prober's records: %w", err)
		}
		items = append(items, item)
	}
}
