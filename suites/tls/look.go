package tls

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/ingress"
	"github.com/vaultproof/vaultproof/pkg/target"
)

// lookTimeout bounds one handshake, or one question, through a door or to a pod.
const lookTimeout = 10 * time.Second

// dial opens a connection to what is looked at.
type dial func(context.Context) (net.Conn, error)

// toPod dials a port of a pod.
func toPod(t *target.Target, pod string, port int) dial {
	return func(ctx context.Context) (net.Conn, error) { return t.DialPod(ctx, pod, port) }
}

// offHere is the weakness of a Vault without TLS, in the words of the check that finds it.
func offHere(t *target.Target, so string) error {
	if !t.Plaintext {
		return nil
	}
	return fmt.Errorf("Vault in namespace %s speaks plain HTTP on port %d (tls_disable), want TLS: %s", t.Namespace, target.VaultPort, so)
}

// unverified is for a handshake in which what is shown is looked at, and nothing of value
// is said.
func unverified(name string) *tls.Config {
	return &tls.Config{ServerName: name, InsecureSkipVerify: true}
}

// greet makes a handshake and hands the connection to talk, which may be nil.
func greet(ctx context.Context, to dial, config *tls.Config, talk func(*tls.Conn) error) (tls.ConnectionState, error) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	raw, err := to(ctx)
	if err != nil {
		return tls.ConnectionState{}, &unreachable{err}
	}
	defer raw.Close()
	if err := raw.SetDeadline(time.Now().Add(lookTimeout)); err != nil {
		return tls.ConnectionState{}, &unreachable{err}
	}
	conn := tls.Client(raw, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		return tls.ConnectionState{}, err
	}
	if talk != nil {
		err = talk(conn)
	}
	return conn.ConnectionState(), err
}

// unreachable is the error of a connection that did not come about, as opposed to a
// handshake that was refused.
type unreachable struct{ cause error }

func (e *unreachable) Error() string { return e.cause.Error() }
func (e *unreachable) Unwrap() error { return e.cause }

// leafOf is the certificate that is shown for a name.
func leafOf(ctx context.Context, to dial, name string) (*x509.Certificate, error) {
	state, err := greet(ctx, to, unverified(name), nil)
	if err != nil {
		return nil, err
	}
	return state.PeerCertificates[0], nil
}

// fingerprint is the SHA-256 of a certificate, shortened for messages.
func fingerprint(cert *x509.Certificate) string {
	sum := sha256.Sum256(cert.Raw)
	return hex.EncodeToString(sum[:8])
}

// ask sends a request over a connection and reads what comes back.
func ask(conn io.ReadWriter, request string) (answer, error) {
	if _, err := io.WriteString(conn, request); err != nil {
		return answer{}, fmt.Errorf("sending a request: %w", err)
	}
	// Whatever ends the answer, what was received is looked at.
	got, _ := io.ReadAll(io.LimitReader(conn, maxAnswer))
	return parseAnswer(got), nil
}

// waysTo finds the ways to Vault from outside, and notes what kinds of them could not be
// looked for.
func waysTo(ctx context.Context, r *conformance.Case) (ingress.Ways, error) {
	services := append([]string{r.Target.ActiveService, r.Target.HeadlessService}, r.Target.ClientServices...)
	ways, err := ingress.Find(ctx, r.Target.Config, r.Target.Client, ingress.Vault{Namespace: r.Target.Namespace, Services: services})
	for _, told := range r.Target.Ingress {
		ways.Doors = append(ways.Doors, ingress.Told(told.Host, told.Address))
	}
	for _, why := range ways.Absent {
		r.Note("ways to Vault of one kind are not looked for: %s", why)
	}
	return ways, err
}

// doorsTo finds the ways to Vault that can be looked through. Its error is the check's
// verdict where there is none.
func doorsTo(ctx context.Context, r *conformance.Case) (doors, error) {
	ways, err := waysTo(ctx, r)
	if err != nil {
		return doors{}, r.CannotTell(err)
	}
	if len(ways.Doors) == 0 {
		return doors{}, r.Skip("no Ingress and no TLSRoute leads to a Service of Vault in namespace %s (%s)", r.Target.Namespace, strings.Join(ways.Absent, "; "))
	}
	return sorted(ways.Doors), nil
}

// doors are the ways to Vault of a target.
type doors struct {
	open []ingress.Door
	// closed are those that nobody serves within sight.
	closed []string
}

func sorted(all []ingress.Door) doors {
	var d doors
	for _, door := range all {
		if len(door.Entries) == 0 {
			d.closed = append(d.closed, fmt.Sprintf("%s (host %q)", door.Object, door.Host))
			continue
		}
		d.open = append(d.open, door)
	}
	return d
}

// all is nil if every door was there to be looked through; else the check, which found
// nothing wrong with the others, cannot tell.
func (d doors) all() error {
	if len(d.closed) == 0 {
		return nil
	}
	return fmt.Errorf("%s leads to Vault, but no pod of its controller and no public address was found to look through it", strings.Join(d.closed, " and "))
}

// through names a door in messages.
func through(d ingress.Door, e ingress.Entry) string {
	return fmt.Sprintf("%s (host %q, through %s)", d.Object, d.Host, e.Name)
}

// isUnreachable tells a connection that did not come about from a refused handshake.
func isUnreachable(err error) bool {
	var u *unreachable
	return errors.As(err, &u)
}
