package tls

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/onsi/ginkgo/v2"

	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/ingress"
)

var tls04 = conformance.Check{
	ID: "TLS-04", Area: area, Level: conformance.Must, Manner: conformance.Beside,
	Assertion: "plain HTTP is answered with a redirect to HTTPS, and a token sent in clear never reaches a Vault pod",
	Source:    "Traefik, kubernetesIngressNGINX provider: a passthrough Ingress makes no HTTP router; ingress-nginx, annotations, server-side HTTPS enforcement",
	Observe: "GET and PUT with a made-up token to the HTTP port of every pod of the ingress controller; a packet capture on each Vault pod's interface meanwhile, " +
		"which must see the handshakes that come through the same doors",
	Timeout: captureStart + 2*captureSees + time.Minute,
}

var _ = conformance.It(tls04, conformance.Conformance, func(ctx ginkgo.SpecContext, r *conformance.Case) error {
	doors, err := doorsTo(ctx, r)
	if err != nil {
		return err
	}
	canary := canaryToken(r.Rand)
	watched, blind := startCapture(ctx, r, doors.open, canary)
	if blind == nil {
		blind = watched.sees(ctx, doors.open)
	}
	// Without a capture the answers are judged all the same.
	asked, err := allRedirect(ctx, r, doors.open, canary)
	r.Measure("plain_requests_total", float64(asked))
	if err != nil {
		return err
	}
	if blind != nil {
		return r.Inconclusive("plain HTTP is redirected, but whether a token in clear reaches a Vault pod was not seen: %w", blind)
	}
	// What comes after the token through the same doors has been captured: so has the token.
	if err := watched.sees(ctx, doors.open); err != nil {
		return r.CannotTell(err)
	}
	seen, err := watched.counts(ctx)
	if err != nil {
		return r.CannotTell(err)
	}
	r.Measure("captured_packets_total", float64(packets(seen)))
	if err := tokenStayedOut(seen); err != nil {
		return err
	}
	return r.CannotTell(doors.all())
})

// allRedirect sends plain HTTP through all doors and judges the answers. It returns how
// many there were.
func allRedirect(ctx context.Context, r *conformance.Case, doors []ingress.Door, canary string) (int, error) {
	asked := 0
	for _, d := range doors {
		for _, e := range d.Entries {
			if e.DialHTTP == nil {
				continue
			}
			for _, method := range []string{http.MethodGet, http.MethodPut} {
				got, err := askPlain(ctx, e.DialHTTP, method, d.Name(), canary)
				if err != nil {
					r.Note("%s takes no plain HTTP: %v", through(d, e), err)
					continue
				}
				asked++
				if err := redirects(method, d.Name(), got); err != nil {
					return asked, fmt.Errorf("%s: %w", through(d, e), err)
				}
			}
		}
	}
	return asked, nil
}

// canaryToken stands for a token: it is one that nobody would miss.
func canaryToken(random *rand.Rand) string {
	return fmt.Sprintf("vaultproof-canary-%016x%016x", random.Uint64(), random.Uint64())
}

// askPlain sends a request with a token in clear. An error means that nothing took it.
func askPlain(ctx context.Context, to dial, method, host, token string) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	conn, err := to(ctx)
	if err != nil {
		return answer{}, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(lookTimeout)); err != nil {
		return answer{}, fmt.Errorf("setting a deadline: %w", err)
	}
	body := `{"a":"` + token + `"}`
	got, err := ask(conn, fmt.Sprintf("%s /v1/cubbyhole/vaultproof HTTP/1.1\r\nHost: %s\r\nX-Vault-Token: %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", method, host, token, len(body), body))
	if err == nil && got.status == 0 {
		err = errors.New("the connection was closed without an answer")
	}
	return got, err
}

// redirects judges the answer to plain HTTP.
func redirects(method, host string, got answer) error {
	if got.ofVault() {
		return fmt.Errorf("Vault itself answered a %s in clear with status %d: the token in it crossed the network unencrypted", method, got.status)
	}
	if !slices.Contains([]int{http.StatusMovedPermanently, http.StatusPermanentRedirect}, got.status) {
		return fmt.Errorf("a %s in clear is answered with status %d, want 301 or 308 to https", method, got.status)
	}
	location := got.header.Get("Location")
	to, err := url.Parse(location)
	if err != nil || to.Scheme != "https" || to.Hostname() != host || to.Port() != "" && to.Port() != "443" {
		return fmt.Errorf("a %s in clear is redirected to %q, want https://%s on the usual port", method, location, host)
	}
	return nil
}

// tokenStayedOut judges what was captured at each pod.
func tokenStayedOut(seen map[string]captured) error {
	for _, pod := range slices.Sorted(maps.Keys(seen)) {
		if n := seen[pod].Found[findToken]; n > 0 {
			return fmt.Errorf("a token that was sent in clear to the ingress was captured %d times at Vault pod %s (interface %q), want it to get no further than the redirect", n, pod, seen[pod].Interface)
		}
	}
	return nil
}

func packets(seen map[string]captured) (total int64) {
	for _, c := range seen {
		total += c.Packets
	}
	return total
}

// knock makes a handshake through each entry of the doors.
func knock(ctx context.Context, doors []ingress.Door) error {
	for _, d := range doors {
		for _, e := range d.Entries {
			if _, err := greet(ctx, e.DialTLS, unverified(d.Name()), nil); err != nil {
				return fmt.Errorf("TLS through %s: %w", through(d, e), err)
			}
		}
	}
	return nil
}
