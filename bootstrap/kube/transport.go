package kube

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"time"
)

// dialTimeout is less than a call's, so that the message says what failed.
const dialTimeout = 2 * time.Second

// pods is the URL of the namespace's pods, with a slash at its end.
func pods(host, port, namespace string) string {
	u := url.URL{Scheme: "https", Host: net.JoinHostPort(host, port)}
	return u.String() + "/api/v1/namespaces/" + url.PathEscape(namespace) + "/pods/"
}

// transport verifies the API server against the CA in caFile, which is read
// again for every new connection: a renewed CA is picked up.
func transport(caFile, host string) *http.Transport {
	d := &net.Dialer{Timeout: dialTimeout, KeepAlive: 15 * time.Second}
	return &http.Transport{
		// No proxy: the API server is inside the cluster.
		// The pods of a cluster are read at the same time.
		MaxIdleConns:        8,
		MaxIdleConnsPerHost: 8,
		IdleConnTimeout:     90 * time.Second,
		DialTLSContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			pem, err := os.ReadFile(caFile)
			if err != nil {
				return nil, fmt.Errorf("reading the API server's CA: %w", err)
			}
			roots := x509.NewCertPool()
			if !roots.AppendCertsFromPEM(pem) {
				return nil, fmt.Errorf("no certificate in the API server's CA file %s", caFile)
			}
			raw, err := d.DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			conn := tls.Client(raw, &tls.Config{RootCAs: roots, ServerName: host, MinVersion: tls.VersionTLS12})
			if err := conn.HandshakeContext(ctx); err != nil {
				raw.Close()
				return nil, fmt.Errorf("TLS with the API server as %q: %w", host, err)
			}
			return conn, nil
		},
	}
}
