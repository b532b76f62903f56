package custody

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/oauth2"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"
)

// fileTokens reads the token from a file at every call: the kubelet replaces
// a projected token long before it expires, and a read costs microseconds.
type fileTokens struct{ path string }

// Token implements oauth2.TokenSource.
func (f fileTokens) Token() (*oauth2.Token, error) {
	raw, err := os.ReadFile(f.path)
	if err != nil {
		return nil, fmt.Errorf("reading the service-account token: %w", err)
	}
	tok := strings.TrimSpace(string(raw))
	if tok == "" {
		return nil, fmt.Errorf("the service-account token file %s is empty", f.path)
	}
	return &oauth2.Token{AccessToken: tok, TokenType: "Bearer"}, nil
}

// callCredentials sends the bearer token with each call, over TLS only.
type callCredentials struct {
	source   oauth2.TokenSource
	audience string // wanted audience; "" checks nothing
	now      func() time.Time
}

var _ credentials.PerRPCCredentials = callCredentials{}

// GetRequestMetadata implements credentials.PerRPCCredentials.
func (c callCredentials) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	tok, err := c.source.Token()
	if err != nil {
		return nil, status.Error(codes.Unauthenticated, err.Error())
	}
	if tok.AccessToken == "" {
		return nil, status.Error(codes.Unauthenticated, "the token source gave an empty token")
	}
	if err := c.check(tok.AccessToken); err != nil {
		return nil, status.Error(codes.Unauthenticated, err.Error())
	}
	return map[string]string{"authorization": "Bearer " + tok.AccessToken}, nil
}

// RequireTransportSecurity implements credentials.PerRPCCredentials.
func (callCredentials) RequireTransportSecurity() bool { return true }

// check looks into a JWT without verifying it, so that a token which the
// server would refuse is explained here, where the cause is known. What is
// not a JWT is left to the server.
func (c callCredentials) check(token string) error {
	parts := strings.Split(token, ".")
	if c.audience == "" || len(parts) != 3 {
		return nil
	}
	body, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return nil
	}
	var claims struct {
		Audience audiences `json:"aud"`
		Expiry   float64   `json:"exp"` // seconds since 1970
	}
	if json.Unmarshal(body, &claims) != nil {
		return nil
	}
	if !slices.Contains(claims.Audience, c.audience) {
		return fmt.Errorf("the service-account token is for audience %q, but custody wants %q: set the audience of the projected token", []string(claims.Audience), c.audience)
	}
	if exp := time.Unix(int64(claims.Expiry), 0); claims.Expiry > 0 && c.now().After(exp) {
		return fmt.Errorf("the service-account token expired at %s: the kubelet has not renewed it", exp.UTC().Format(time.RFC3339))
	}
	return nil
}

// audiences is a JWT's aud: one string or a list of them.
type audiences []string

func (a *audiences) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*a = audiences{one}
		return nil
	}
	return json.Unmarshal(b, (*[]string)(a))
}
