package main

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestImpostor(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	out := &shared{}
	i := &impostor{out: out}
	ended := make(chan error, 1)
	go func() { ended <- i.serve(t.Context(), listener) }()
	ask := func(config *tls.Config) (string, error) {
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}, Timeout: 5 * time.Second}
		answer, err := client.Get("https://" + listener.Addr().String() + "/v1/sys/health?standbyok=true")
		if err != nil {
			return "", err
		}
		defer answer.Body.Close()
		body, err := io.ReadAll(answer.Body)
		return answer.Status + " " + string(body), err
	}
	// As a kubelet asks.
	if got, err := ask(&tls.Config{InsecureSkipVerify: true}); err != nil || !strings.HasPrefix(got, "200 ") || !strings.Contains(got, `"sealed":false`) {
		t.Errorf("who does not verify gets %q (%v), want a healthy Vault", got, err)
	}
	if _, err := ask(&tls.Config{RootCAs: x509.NewCertPool()}); err == nil {
		t.Error("who verifies gets an answer")
	}
	deadline := time.After(5 * time.Second)
	for !out.has(`{"answered":1,"refused":1}`) {
		select {
		case <-deadline:
			t.Fatalf("counted %s", out.text.String())
		case <-time.After(10 * time.Millisecond):
		}
	}
}
