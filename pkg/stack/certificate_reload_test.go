package stack

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

const (
	// loadRate is how many requests start in a second, a fresh connection for every other.
	loadRate = 100
	// reloadWithin is how long after its file a certificate may be served: the container
	// looks every two seconds, on a machine that may be busy.
	reloadWithin = 15 * time.Second
)

// load sends requests on a schedule, whatever becomes of them.
type load struct {
	done, failed atomic.Int64
	mu           sync.Mutex
	first        string // failure
}

func (l *load) run(ctx context.Context, p *podVault, token string) {
	kept := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{TLSClientConfig: p.trust(), MaxIdleConnsPerHost: 8}}
	fresh := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{TLSClientConfig: p.trust(), DisableKeepAlives: true}}
	tick := time.NewTicker(time.Second / loadRate)
	defer tick.Stop()
	var wait sync.WaitGroup
	defer wait.Wait()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		client := kept
		if n%2 == 0 {
			client = fresh
		}
		wait.Go(func() {
			err := put(client, p.address, token, fmt.Sprintf("cubbyhole/%d", n%10))
			l.done.Add(1)
			if err != nil {
				l.failed.Add(1)
				l.mu.Lock()
				defer l.mu.Unlock()
				if l.first == "" {
					l.first = err.Error()
				}
			}
		})
	}
}

func put(client *http.Client, address, token, path string) error {
	request, err := http.NewRequest(http.MethodPut, "https://"+address+"/v1/"+path, strings.NewReader(`{"a":"b"}`))
	if err != nil {
		return err
	}
	request.Header.Set("X-Vault-Token", token)
	answer, err := client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	_, _ = io.Copy(io.Discard, answer.Body)
	if answer.StatusCode >= 300 {
		return fmt.Errorf("status %s", answer.Status)
	}
	return nil
}

// TestANewCertificateIsServedWithoutAFailedRequest runs the container of the manifests
// with the real Vault, under load.
func TestANewCertificateIsServedWithoutAFailedRequest(t *testing.T) {
	p := startPodVault(t)
	if !p.awaitServed(p.rotate(), time.Minute) {
		t.Fatal("Vault does not serve the certificate that came while it started")
	}
	token := p.open()
	ctx, stop := context.WithCancel(t.Context())
	var sent load
	flowing := make(chan struct{})
	go func() {
		defer close(flowing)
		sent.run(ctx, p, token)
	}()
	for range 5 {
		start := time.Now()
		if !p.awaitServed(p.rotate(), reloadWithin) {
			t.Fatalf("a new certificate is not served %s after it was written", reloadWithin)
		}
		t.Logf("served after %s", time.Since(start).Round(time.Millisecond))
	}
	stop()
	<-flowing
	t.Logf("%d requests, %d failed", sent.done.Load(), sent.failed.Load())
	if sent.done.Load() < loadRate || sent.failed.Load() > 0 {
		t.Errorf("%d of %d requests failed, the first with: %s", sent.failed.Load(), sent.done.Load(), sent.first)
	}
}

// TestASignalThatComesTooEarlyEndsNobody sends what the container sends itself from the
// very beginning on, when Vault is not there yet to take it.
func TestASignalThatComesTooEarlyEndsNobody(t *testing.T) {
	p := startPodVault(t)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	// The shell needs a moment to say that it does not mind.
	for deadline := time.Now().Add(5 * time.Second); ignored(p.cmd.Process.Pid) == 0 && time.Now().Before(deadline); {
		<-tick.C
	}
	answered := make(chan bool, 1)
	go func() { answered <- p.awaitServedAny(time.Minute) }()
	for {
		select {
		case ok := <-answered:
			if !ok {
				t.Fatal("Vault does not answer")
			}
			return
		case <-p.ended:
			t.Fatal("the container ended")
		case <-tick.C:
			_ = p.cmd.Process.Signal(syscall.SIGHUP)
		}
	}
}

// ignored says whether a process ignores SIGHUP (1) or not (0).
func ignored(pid int) uint64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(status), "SigIgn:")
	var mask uint64
	_, _ = fmt.Sscanf(rest, "%x", &mask)
	return mask & 1
}
