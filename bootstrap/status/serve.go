package status

import (
	"context"
	"log/slog"
	"net/http"

	"github.com/vaultproof/vaultproof/bootstrap/podtls"
)

// Serve answers on address until ctx ends. The certificate is read again when
// its file changes.
func Serve(ctx context.Context, address, certFile, keyFile string, h http.Handler, log *slog.Logger) error {
	return podtls.Server{Address: address, CertFile: certFile, KeyFile: keyFile, What: "status requests", Flag: "-listen", Log: log}.Serve(ctx, h)
}
