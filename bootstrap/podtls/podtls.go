// Package podtls serves HTTPS with the certificate of the pod, which is read
// again when its file changes.
package podtls

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

// Server is one port of the sidecar.
type Server struct {
	Address           string
	CertFile, KeyFile string
	What, Flag        string // what is asked there, and the flag with the address, for errors
	Log               *slog.Logger
}

// Serve answers until ctx ends, which is no error.
func (s Server) Serve(ctx context.Context, h http.Handler) error {
	pair := &keyPair{certFile: s.CertFile, keyFile: s.KeyFile, log: s.Log}
	if _, err := pair.get(nil); err != nil {
		return err
	}
	l, err := net.Listen("tcp", s.Address)
	if err != nil {
		return fmt.Errorf("listening for %s (change %s if the port is taken): %w", s.What, s.Flag, err)
	}
	srv := &http.Server{
		Handler:           h,
		TLSConfig:         &tls.Config{GetCertificate: pair.get, MinVersion: tls.VersionTLS12},
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      10 * time.Second,
		IdleTimeout:       time.Minute,
		// A port scan or an impatient kubelet is no news.
		ErrorLog: slog.NewLogLogger(s.Log.Handler(), slog.LevelDebug),
	}
	stop := context.AfterFunc(ctx, func() { _ = srv.Close() })
	defer stop()
	if err := srv.ServeTLS(l, "", ""); err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving %s: %w", s.What, err)
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
		k.log.Warn("the pod's certificate was replaced by one that cannot be read; serving with the old one", "file", k.certFile, "error", err.Error())
	}
	return k.cert, nil
}
