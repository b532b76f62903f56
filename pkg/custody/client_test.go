package custody

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"hash/crc32"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"cloud.google.com/go/secretmanager/apiv1/secretmanagerpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// fake answers with what a test gives it, and remembers the tokens it saw.
type fake struct {
	secretmanagerpb.UnimplementedSecretManagerServiceServer
	mu      sync.Mutex
	tokens  []string
	add     func(*secretmanagerpb.AddSecretVersionRequest) (*secretmanagerpb.SecretVersion, error)
	access  func() (*secretmanagerpb.AccessSecretVersionResponse, error)
	create  error
	created *secretmanagerpb.CreateSecretRequest
}

func (f *fake) saw(ctx context.Context) {
	md, _ := metadata.FromIncomingContext(ctx)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tokens = append(f.tokens, strings.Join(md.Get("authorization"), ","))
}

func (f *fake) CreateSecret(ctx context.Context, r *secretmanagerpb.CreateSecretRequest) (*secretmanagerpb.Secret, error) {
	f.saw(ctx)
	f.created = r
	return &secretmanagerpb.Secret{}, f.create
}

func (f *fake) AddSecretVersion(_ context.Context, r *secretmanagerpb.AddSecretVersionRequest) (*secretmanagerpb.SecretVersion, error) {
	return f.add(r)
}

func (f *fake) AccessSecretVersion(context.Context, *secretmanagerpb.AccessSecretVersionRequest) (*secretmanagerpb.AccessSecretVersionResponse, error) {
	return f.access()
}

// serve runs the fake on loopback with TLS and gives a configuration for it.
func serve(t *testing.T, f *fake) Config {
	t.Helper()
	web := httptest.NewUnstartedServer(nil) // for its certificate
	web.StartTLS()
	t.Cleanup(web.Close)
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := grpc.NewServer(grpc.Creds(credentials.NewTLS(&tls.Config{Certificates: web.TLS.Certificates})))
	secretmanagerpb.RegisterSecretManagerServiceServer(srv, f)
	go func() { _ = srv.Serve(lis) }()
	t.Cleanup(srv.Stop)
	token := filepath.Join(t.TempDir(), "token")
	write(t, token, "first\n")
	return Config{
		Project: "p", Endpoint: lis.Addr().String(), TokenFile: token,
		CAPEM: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: web.Certificate().Raw}),
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func dial(t *testing.T, cfg Config) *Client {
	t.Helper()
	c, err := Dial(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestTokenFileIsReadAtEachCall(t *testing.T) {
	f := &fake{}
	cfg := serve(t, f)
	c := dial(t, cfg)
	for _, token := range []string{"first", "second"} {
		write(t, cfg.TokenFile, token+"\n")
		if err := c.Create(t.Context(), "x"); err != nil {
			t.Fatal(err)
		}
	}
	if fmt.Sprint(f.tokens) != "[Bearer first Bearer second]" {
		t.Errorf("the server saw %q", f.tokens)
	}
	if f.created.GetParent() != "projects/p" || f.created.GetSecretId() != "x" {
		t.Errorf("the server saw %v", f.created)
	}
	for name, spoil := range map[string]func(){
		"empty":   func() { write(t, cfg.TokenFile, " \n") },
		"missing": func() { _ = os.Remove(cfg.TokenFile) },
	} {
		spoil()
		err := c.Create(t.Context(), "x")
		if !errors.Is(err, ErrDenied) || !strings.Contains(err.Error(), cfg.TokenFile) {
			t.Errorf("%s token file: got %v", name, err)
		}
	}
}

func TestTokenIsExplainedBeforeItIsSent(t *testing.T) {
	jwt := func(claims string) string {
		return "h." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".s"
	}
	f := &fake{}
	cfg := serve(t, f)
	cfg.Audience = "custody"
	c := dial(t, cfg)
	for claims, want := range map[string]string{
		`{"aud":["api"],"exp":99999999999}`:    "set the audience",
		`{"aud":"api","exp":99999999999}`:      "set the audience",
		`{"aud":["custody"],"exp":1000000000}`: "expired at 2001-09-09T01:46:40Z",
	} {
		token := jwt(claims)
		write(t, cfg.TokenFile, token)
		err := c.Create(t.Context(), "x")
		if !errors.Is(err, ErrDenied) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", claims, err)
		} else if strings.Contains(err.Error(), token) {
			t.Errorf("the error repeats the token: %v", err)
		}
	}
	if len(f.tokens) != 0 {
		t.Errorf("a bad token was sent: %d calls", len(f.tokens))
	}
	for _, good := range []string{jwt(`{"aud":["api","custody"],"exp":99999999999}`), "opaque"} {
		write(t, cfg.TokenFile, good)
		if err := c.Create(t.Context(), "x"); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
}

func TestAddSendsAChecksumAndWantsItConfirmed(t *testing.T) {
	payload := []byte("secret-share")
	f := &fake{}
	confirmed := true
	f.add = func(r *secretmanagerpb.AddSecretVersionRequest) (*secretmanagerpb.SecretVersion, error) {
		want := int64(crc32.Checksum(payload, crc32.MakeTable(crc32.Castagnoli)))
		if r.GetPayload().DataCrc32C == nil || r.GetPayload().GetDataCrc32C() != want {
			t.Errorf("checksum sent is %v, want %d", r.GetPayload().DataCrc32C, want)
		}
		return &secretmanagerpb.SecretVersion{Name: "projects/123456/secrets/x/versions/7", ClientSpecifiedPayloadChecksum: confirmed}, nil
	}
	c := dial(t, serve(t, f))
	v, err := c.Add(t.Context(), "x", payload)
	if err != nil || v != "7" {
		t.Fatalf("got version %q, %v", v, err)
	}
	confirmed = false
	if _, err = c.Add(t.Context(), "x", payload); !errors.Is(err, ErrCorrupt) {
		t.Errorf("an unconfirmed checksum: got %v", err)
	}
	// A server that echoes the payload in its error.
	f.add = func(r *secretmanagerpb.AddSecretVersionRequest) (*secretmanagerpb.SecretVersion, error) {
		return nil, status.Errorf(codes.InvalidArgument, "bad payload %s", r.GetPayload().GetData())
	}
	_, err = c.Add(t.Context(), "x", payload)
	if !errors.Is(err, ErrInvalid) || strings.Contains(fmt.Sprintf("%v %+v %#v", err, err, errors.Unwrap(err)), string(payload)) {
		t.Errorf("got %v", err)
	}
}

func TestReadVerifiesTheChecksum(t *testing.T) {
	sum := int64(crc32.Checksum([]byte("lavender"), crc32.MakeTable(crc32.Castagnoli)))
	f := &fake{}
	c := dial(t, serve(t, f))
	for name, p := range map[string]*secretmanagerpb.SecretPayload{
		"changed":     {Data: []byte("lavendar"), DataCrc32C: &sum},
		"truncated":   {Data: []byte("lavend"), DataCrc32C: &sum},
		"no checksum": {Data: []byte("lavender")},
		"nothing":     nil,
	} {
		f.access = func() (*secretmanagerpb.AccessSecretVersionResponse, error) {
			return &secretmanagerpb.AccessSecretVersionResponse{Name: "projects/1/secrets/x/versions/2", Payload: p}, nil
		}
		s, err := c.Read(t.Context(), "x")
		if !errors.Is(err, ErrCorrupt) || len(s.Payload) != 0 {
			t.Errorf("%s: got %v", name, err)
		} else if strings.Contains(err.Error(), "lavend") || !strings.Contains(err.Error(), "secrets/x/versions/2") {
			t.Errorf("%s: message is %q", name, err)
		}
	}
	f.access = func() (*secretmanagerpb.AccessSecretVersionResponse, error) {
		return &secretmanagerpb.AccessSecretVersionResponse{Name: "projects/1/secrets/x/versions/2",
			Payload: &secretmanagerpb.SecretPayload{Data: []byte("lavender"), DataCrc32C: &sum}}, nil
	}
	if s, err := c.Read(t.Context(), "x"); err != nil || string(s.Payload) != "lavender" || s.Version != "2" {
		t.Errorf("a good payload: version %q, %v", s.Version, err)
	}
}

func TestErrorsTellResourceAndRemedy(t *testing.T) {
	f := &fake{}
	c := dial(t, serve(t, f))
	for code, kind := range map[codes.Code]error{
		codes.AlreadyExists: ErrExists, codes.NotFound: ErrNotFound,
		codes.PermissionDenied: ErrDenied, codes.Unauthenticated: ErrDenied,
		codes.Unavailable: ErrUnavailable, codes.DeadlineExceeded: ErrUnavailable,
		codes.ResourceExhausted: ErrUnavailable, codes.Internal: ErrUnavailable, codes.Aborted: ErrUnavailable,
		codes.FailedPrecondition: ErrState, codes.InvalidArgument: ErrInvalid, codes.DataLoss: ErrCorrupt,
	} {
		f.create = status.Error(code, "because of the reason.")
		err := c.Create(t.Context(), "vault-init-claim")
		var e *Error
		if !errors.Is(err, kind) || !errors.As(err, &e) || e.Remedy == "" {
			t.Errorf("%s: got %v", code, err)
			continue
		}
		for _, want := range []string{"projects/p/secrets/vault-init-claim", "because of the reason", "create", e.Remedy} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %q lacks %q", code, err, want)
			}
		}
	}
	f.create = status.Error(codes.Unknown, "odd")
	if err := c.Create(t.Context(), "x"); err == nil || errors.Is(err, ErrUnavailable) {
		t.Errorf("an unknown code: got %v", err)
	}
}

func TestRetriesAreBoundByTheContext(t *testing.T) {
	f := &fake{access: func() (*secretmanagerpb.AccessSecretVersionResponse, error) {
		return nil, status.Error(codes.Unavailable, "backend is down")
	}}
	c := dial(t, serve(t, f))
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	start := time.Now()
	_, err := c.Read(ctx, "x")
	if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "backend is down") {
		t.Errorf("got %v", err)
	}
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("took %s", took)
	}
}

func TestDialRefusesBadConfigurations(t *testing.T) {
	good := Config{Project: "p", Endpoint: "127.0.0.1:1", TokenFile: "/token"}
	for name, spoil := range map[string]func(*Config){
		"no project":   func(c *Config) { c.Project = "" },
		"no port":      func(c *Config) { c.Endpoint = "custody.example" },
		"no token":     func(c *Config) { c.TokenFile = "" },
		"CA no PEM":    func(c *Config) { c.CAPEM = []byte("not a certificate") },
		"CA not there": func(c *Config) { c.CAFile = filepath.Join(t.TempDir(), "absent") },
	} {
		cfg := good
		spoil(&cfg)
		if _, err := Dial(t.Context(), cfg); err == nil {
			t.Errorf("%s: accepted", name)
		} else if !strings.HasPrefix(err.Error(), "custody: ") {
			t.Errorf("%s: the error does not say whose it is: %v", name, err)
		}
	}
	c, err := Dial(t.Context(), good)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}
