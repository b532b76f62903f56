package tls

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/onsi/ginkgo/v2"

	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/issuer"
)

// clusterPort is where pods speak raft and forward requests.
const clusterPort = 8201

// What Vault's pods speak there, named in the handshake (vault/sdk/helper/consts).
const (
	raftALPN       = "raft_storage_v1"
	forwardingALPN = "req_fw_sb-act_v1"
)

// hangsAfter is how long a server may take to refuse a client: it says so at once.
const hangsAfter = 5 * time.Second

var tls09 = conformance.Check{
	ID: "TLS-09", Area: area, Level: conformance.Must, Manner: conformance.Reads,
	Assertion: "the cluster port refuses plaintext, certificates of another CA, none at all, and unknown protocols",
	Source:    "HashiCorp Vault, high availability internals: mutual TLS between servers; raft stream layer",
	Observe:   "HTTP in clear and TLS handshakes to port 8201 of every pod: without ALPN, with an unknown one, and with those of raft and request forwarding with a strange client certificate",
}

var _ = conformance.It(tls09, conformance.Conformance, func(ctx ginkgo.SpecContext, r *conformance.Case) error {
	pods, err := r.Target.Pods(ctx)
	if err != nil {
		return r.CannotTell(err)
	}
	if len(pods) == 0 {
		return errors.New("there is no Vault pod")
	}
	stranger, err := strangerCertificate()
	if err != nil {
		return r.CannotTell(err)
	}
	tried := 0
	for _, pod := range pods {
		to := toPod(r.Target, pod.Name, clusterPort)
		for _, attempt := range intrusions(stranger) {
			got, err := attempt.try(ctx, to)
			if err != nil {
				return r.CannotTell(fmt.Errorf("port %d of pod %s: %w", clusterPort, pod.Name, err))
			}
			if err := keptOut(pod.Name, attempt.what, got); err != nil {
				return err
			}
			tried++
		}
	}
	r.Measure("attempts_total", float64(tried))
	return nil
})

// strangerCertificate is for a client that no server has reason to trust.
func strangerCertificate() (tls.Certificate, error) {
	ca, err := issuer.NewCA("not the CA of this Vault", 24*time.Hour)
	if err != nil {
		return tls.Certificate{}, err
	}
	pair, err := ca.Server("stranger", []string{"localhost"}, 24*time.Hour)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.X509KeyPair(pair.Cert, pair.Key)
}

// intrusion is one way to try the cluster port.
type intrusion struct {
	what string
	// config of the handshake; nil means in clear.
	config *tls.Config
}

func intrusions(stranger tls.Certificate) []intrusion {
	speak := func(what string, client bool, protocols ...string) intrusion {
		config := unverified("localhost")
		config.NextProtos = protocols
		if client {
			config.Certificates = []tls.Certificate{stranger}
		}
		return intrusion{what, config}
	}
	return []intrusion{
		{"plain HTTP", nil},
		speak("TLS without a protocol", false),
		speak("TLS with HTTP/2", false, "h2"),
		speak("TLS with an unknown protocol", true, "vaultproof/1"),
		speak("TLS with raft's protocol and no certificate", false, raftALPN),
		speak("TLS with raft's protocol and a certificate of another CA", true, raftALPN),
		speak("TLS with the forwarding protocol and no certificate", false, forwardingALPN),
		speak("TLS with the forwarding protocol and a certificate of another CA", true, forwardingALPN),
	}
}

// reception is how an intruder was received.
type reception struct {
	answer   answer // to plain HTTP
	accepted bool   // the handshake came about, and the connection stayed
}

// try makes the attempt. In TLS 1.3 a client hears only after its handshake that it was
// refused, so it listens for that. An error means that there was nothing to try.
func (i intrusion) try(ctx context.Context, to dial) (reception, error) {
	if i.config == nil {
		got, err := askOn(ctx, to)
		return reception{answer: got}, err
	}
	var accepted bool
	_, err := greet(ctx, to, i.config, func(conn *tls.Conn) error {
		if err := conn.SetReadDeadline(time.Now().Add(hangsAfter)); err != nil {
			return err
		}
		n, err := conn.Read(make([]byte, 1))
		var late net.Error
		accepted = n > 0 || err == nil || errors.As(err, &late) && late.Timeout()
		return nil
	})
	if isUnreachable(err) {
		return reception{}, err
	}
	return reception{accepted: accepted}, nil
}

// askOn sends a request in clear; a connection that is closed without an answer is none.
func askOn(ctx context.Context, to dial) (answer, error) {
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
	if _, err := io.WriteString(conn, "GET /v1/sys/health HTTP/1.1\r\nHost: vault\r\nConnection: close\r\n\r\n"); err != nil {
		return answer{}, nil // refused before it was said
	}
	got, _ := io.ReadAll(io.LimitReader(conn, maxAnswer))
	return parseAnswer(got), nil
}

// keptOut judges how an intruder was received.
func keptOut(pod, what string, got reception) error {
	switch {
	case got.accepted:
		return fmt.Errorf("port %d of pod %s accepted %s, want mutual TLS with the servers of this Vault only", clusterPort, pod, what)
	case got.answer.ofVault(), got.answer.status != 0 && got.answer.status != http.StatusBadRequest:
		return fmt.Errorf("port %d of pod %s answered %s with status %d, want no answer", clusterPort, pod, what, got.answer.status)
	}
	return nil
}
