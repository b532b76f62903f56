// Package google stands in for those of Google's services that Vault's GCP auth asks (the
// keys of service accounts, the accounts themselves, and tokens to ask with), signs for
// accounts as Google does, and tries on a real Vault whom that lets in.
//
// Everything is made here and lives as long as the process: no key of it is worth anything
// elsewhere.
package google

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"time"

	"github.com/vaultproof/vaultproof/pkg/issuer"
)

const (
	// project is that of all accounts.
	project = "vaultproof-lab"
	// keyBits is the length of Google's own keys.
	keyBits = 2048
	// life is longer than any use of the stand-in.
	life = 24 * time.Hour
)

// account is a service account with one key.
type account struct {
	email string
	id    string // that it has for good
	key   *rsa.PrivateKey
	keyID string
	cert  []byte // of the key, as PEM
	gone  bool   // it was deleted, and its keys are still known
}

// standIn is a server on loopback. It speaks TLS with a certificate of its own root.
type standIn struct {
	accounts map[string]*account // by e-mail address
	root     []byte              // PEM
	url      string
	server   *http.Server
}

// newAccount makes an account and its key.
func newAccount(name string, id int64) (*account, error) {
	key, err := rsa.GenerateKey(rand.Reader, keyBits)
	if err != nil {
		return nil, fmt.Errorf("making the key of account %s: %w", name, err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(id), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(life),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, fmt.Errorf("certifying the key of account %s: %w", name, err)
	}
	return &account{
		email: name + "@" + project + ".iam.gserviceaccount.com", id: fmt.Sprint(id),
		key: key, keyID: "key-of-" + name, cert: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
	}, nil
}

// serve starts the server.
func serve(accounts ...*account) (*standIn, error) {
	ca, err := issuer.NewCA("stand-in for Google", life)
	if err != nil {
		return nil, err
	}
	pair, err := ca.Server("localhost", []string{"localhost", "127.0.0.1"}, life)
	if err != nil {
		return nil, err
	}
	certificate, err := tls.X509KeyPair(pair.Cert, pair.Key)
	if err != nil {
		return nil, fmt.Errorf("preparing the certificate of the stand-in for Google: %w", err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("opening a port for the stand-in for Google: %w", err)
	}
	s := &standIn{accounts: map[string]*account{}, root: ca.PEM(), url: "https://" + listener.Addr().String()}
	for _, a := range accounts {
		s.accounts[a.email] = a
	}
	s.server = &http.Server{Handler: s.routes(), ReadHeaderTimeout: 10 * time.Second}
	secured := tls.NewListener(listener, &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12})
	go func() { _ = s.server.Serve(secured) }() // it ends with close
	return s, nil
}

func (s *standIn) close(ctx context.Context) error {
	if err := s.server.Shutdown(ctx); err != nil {
		return errors.Join(fmt.Errorf("stopping the stand-in for Google: %w", err), s.server.Close())
	}
	return nil
}

// routes are those that Vault asks, in the forms that Google documents.
func (s *standIn) routes() http.Handler {
	mux := http.NewServeMux()
	// Keys that Google itself signs with: nobody here has a token of those.
	mux.HandleFunc("GET /oauth2/v1/certs", func(w http.ResponseWriter, _ *http.Request) { tell(w, map[string]string{}) })
	mux.HandleFunc("GET /service_accounts/v1/metadata/x509/{email}", func(w http.ResponseWriter, q *http.Request) {
		a := s.accounts[q.PathValue("email")]
		if a == nil {
			http.NotFound(w, q)
			return
		}
		tell(w, map[string]string{a.keyID: string(a.cert)})
	})
	mux.HandleFunc("GET /v1/projects/-/serviceAccounts/{email}", func(w http.ResponseWriter, q *http.Request) {
		a := s.accounts[q.PathValue("email")]
		if a == nil || a.gone {
			http.NotFound(w, q)
			return
		}
		tell(w, map[string]string{
			"name": "projects/" + project + "/serviceAccounts/" + a.email, "projectId": project, "uniqueId": a.id, "email": a.email,
		})
	})
	mux.HandleFunc("POST /token", func(w http.ResponseWriter, _ *http.Request) {
		tell(w, map[string]any{"access_token": "of-the-stand-in", "token_type": "Bearer", "expires_in": int(life.Seconds())})
	})
	return mux
}

func tell(w http.ResponseWriter, what any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(what) // who asked may be gone
}

// credentials are those that Vault shows to Google, as a file of a service account.
func (s *standIn) credentials(a *account) ([]byte, error) {
	text, err := json.Marshal(map[string]string{
		"type": "service_account", "project_id": project, "client_email": a.email, "client_id": a.id,
		"private_key_id": a.keyID, "token_uri": s.url + "/token",
		"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(a.key)})),
	})
	if err != nil {
		return nil, fmt.Errorf("writing credentials for the stand-in for Google: %w", err)
	}
	return text, nil
}
