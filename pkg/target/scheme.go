package target

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
)

const (
	// askTimeout bounds one question to one pod while the target is looked for.
	askTimeout = 5 * time.Second
	// firstBytes is how much of an answer tells HTTP from TLS.
	firstBytes = 4 << 10
)

// Scheme is how Vault is spoken with: https, or http where TLS is off.
func (t *Target) Scheme() string {
	if t.Plaintext {
		return "http"
	}
	return "https"
}

// Address is the URL of Vault's API by the name that its certificate is verified for.
func (t *Target) Address() string {
	return t.Scheme() + "://" + net.JoinHostPort(t.ServerName, strconv.Itoa(VaultPort))
}

// findScheme finds out whether Vault speaks TLS. What a pod answers decides; if none
// does, what its manifests say.
func (t *Target) findScheme(ctx context.Context, told FileTLS, spec corev1.PodSpec) error {
	if told.Plaintext != nil {
		t.Plaintext = *told.Plaintext
		t.found("tls", onOff(!t.Plaintext)+", as the target file says")
		return nil
	}
	pods, err := t.Pods(ctx)
	if err != nil {
		return err
	}
	for _, pod := range pods {
		plain, err := t.answersInClear(ctx, pod.Name)
		if err != nil {
			continue // the next pod may answer
		}
		t.Plaintext = plain
		t.found("tls", fmt.Sprintf("%s, as port %d of pod %s shows", onOff(!plain), VaultPort, pod.Name))
		return nil
	}
	t.Plaintext = declaredPlain(spec, t.Container)
	t.found("tls", onOff(!t.Plaintext)+" by VAULT_ADDR of the pods, none of which answers")
	return nil
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}

// answersInClear asks a pod in plain HTTP.
func (t *Target) answersInClear(ctx context.Context, pod string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	conn, err := t.DialPod(ctx, pod, VaultPort)
	if err != nil {
		return false, err
	}
	defer conn.Close()
	return speaksPlain(conn)
}

// speaksPlain tells whether what listens at the other end answers plain HTTP. A TLS
// listener closes, sends an alert, or says in clear (status 400) that it wants TLS.
func speaksPlain(conn net.Conn) (bool, error) {
	if err := conn.SetDeadline(time.Now().Add(askTimeout)); err != nil {
		return false, fmt.Errorf("setting a deadline: %w", err)
	}
	const request = "GET /v1/sys/health HTTP/1.1\r\nHost: vault\r\nConnection: close\r\n\r\n"
	if _, err := io.WriteString(conn, request); err != nil {
		return false, fmt.Errorf("asking in clear: %w", err)
	}
	got, err := io.ReadAll(io.LimitReader(conn, firstBytes))
	if len(got) == 0 && err != nil {
		return false, fmt.Errorf("asking in clear: %w", err)
	}
	line, _, _ := bytes.Cut(got, []byte("\r\n"))
	version, status, _ := bytes.Cut(line, []byte(" "))
	refused := strconv.Itoa(http.StatusBadRequest)
	return bytes.HasPrefix(version, []byte("HTTP/")) && !bytes.HasPrefix(status, []byte(refused)), nil
}

// declaredPlain reads how Vault's own container is told to reach Vault.
func declaredPlain(spec corev1.PodSpec, container string) bool {
	return strings.HasPrefix(variable(spec, container, "VAULT_ADDR"), "http://")
}

// variable is the value of a variable of a container, empty if it has none.
func variable(spec corev1.PodSpec, container, name string) string {
	for _, c := range spec.Containers {
		if c.Name != container {
			continue
		}
		for _, e := range c.Env {
			if e.Name == name {
				return e.Value
			}
		}
	}
	return ""
}

// findServerName chooses the name to verify in certificates: one that a pod's own is for.
// Where none is, the usual name stays, and checks that verify it fail.
func (t *Target) findServerName(ctx context.Context, told FileTLS) error {
	names := t.serverNames()
	t.ServerName = names[0]
	if told.ServerName != "" {
		t.ServerName = told.ServerName
	}
	if t.Plaintext || told.ServerName != "" {
		return nil
	}
	pods, err := t.Pods(ctx)
	if err != nil {
		return err
	}
	for _, pod := range pods {
		leaf, err := t.leaf(ctx, pod.Name)
		if err != nil {
			continue
		}
		if name, fits := nameFor(leaf, names); fits {
			t.ServerName = name
		} else {
			t.unseen("server name", fmt.Sprintf("the certificate of pod %s is for none of %s", pod.Name, strings.Join(names, ", ")))
		}
		return nil
	}
	return nil
}

// serverNames are names by which Vault is reached, the usual one first.
func (t *Target) serverNames() []string {
	var names []string
	add := func(service string) {
		if service != "" {
			own := service + "." + t.Namespace + ".svc"
			names = append(names, own, own+".cluster.local", service+"."+t.Namespace, service)
		}
	}
	add(t.ActiveService)
	for _, service := range t.ClientServices {
		if service != t.ActiveService {
			add(service)
		}
	}
	if t.HeadlessService != "" {
		add(t.StatefulSet + "-0." + t.HeadlessService)
	}
	if len(names) == 0 {
		add(t.StatefulSet)
	}
	return append(names, "localhost", "127.0.0.1")
}

func nameFor(leaf *x509.Certificate, names []string) (string, bool) {
	for _, name := range names {
		if leaf.VerifyHostname(name) == nil {
			return name, true
		}
	}
	return "", false
}

// leaf is the certificate that a pod shows. Nothing is said over the connection.
func (t *Target) leaf(ctx context.Context, pod string) (*x509.Certificate, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	raw, err := t.DialPod(ctx, pod, VaultPort)
	if err != nil {
		return nil, err
	}
	defer raw.Close()
	conn := tls.Client(raw, &tls.Config{ServerName: t.ServerName, InsecureSkipVerify: true})
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, fmt.Errorf("TLS with pod %s: %w", pod, err)
	}
	return conn.ConnectionState().PeerCertificates[0], nil
}
