package status

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"
)

// Serve answers on address until ctx ends. The certificate is read again when
// its file changes.
func Serve(ctx context.Context, address, certFile, keyFile string, h http.Handler, log *slog.Logger) error {
	pair := &keyPair{certFile: certFile, keyFile: keyFile, log: log}
	if _, err := pair.get(nil); err != nil {
		return err
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("listening for status requests (change -listen if the port is taken): %w", err)
	}
	srv := &http.Server{
		Handler:           h,
		TLSConfig:         &tls.Config{GetCertificate: pair.get, MinVersion: tls.VersionTLS12},
		ReadHeaderTimeout: 5 * time.Second,
		WriteTimeout:      10 * time.Second,
		IdleTimeout:       time.Minute,
		// A port scan or an impatient kubelet is no news.
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	stop := context.AfterFunc(ctx, func() { _ = srv.Close() })
	defer stop()
	if err := srv.ServeTLS(l, "", ""); err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving status requests: %w", err)
	}
	return nil
}

// keyPair is a certificate in files that may be replaced at any time.
type keyPair struct {
	certFile, keyFile string
	log               *slog.Logger

	mu   sync.Mutex
	at   time.Time // of the file that cert was read from
	cert *tls.Certificate
}

// get gives the current certificate. A replacement that cannot be read leaves
// the old one in use.
func (k *keyPair) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	fi, err := os.Stat(k.certFile)
	if err == nil && k.cert != nil && fi.ModTime().Equal(k.at) {
		return k.cert, nil
	}
	var cert tls.Certificate
	if err == nil {
		cert, err = tls.LoadX509KeyPair(k.certFile, k.keyFile)
	}
	switch {
	case err == nil:
		k.cert, k.at = &cert, fi.ModTime()
	case k.cert == nil:
		return nil, fmt.Errorf("reading the pod's certificate %s and key %s (set -tls-cert and -tls-key): %w", k.certFile, k.keyFile, err)
	default:
		k.log.Warn("the pod's certificate was replaced by one that cannot be read; serving status with the old one", "file", k.certFile, "error", err.Error())
	}
	return k.cert, nil
}
