package ceremony

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/hashicorp/vault/api"
)

const (
	attemptPath = "/v1/sys/generate-root/attempt"
	updatePath  = "/v1/sys/generate-root/update"
	// answerLimit is more than any answer that is read here has, in bytes.
	answerLimit = 64 << 10
)

// secret is a JSON string whose bytes can be overwritten. What is read here
// (base62, base64) needs no escapes.
type secret []byte

// UnmarshalJSON implements json.Unmarshaler.
func (s *secret) UnmarshalJSON(raw []byte) error {
	if bytes.Equal(raw, []byte("null")) {
		*s = nil
		return nil
	}
	if len(raw) < 2 || raw[0] != '"' || bytes.IndexByte(raw, '\\') >= 0 {
		return errors.New("it is not a plain string")
	}
	*s = bytes.Clone(raw[1 : len(raw)-1])
	return nil
}

// attempt is what Vault says of an attempt.
type attempt struct {
	Started  bool   `json:"started"`
	Nonce    string `json:"nonce"`
	Progress int    `json:"progress"`
	Required int    `json:"required"`
	Complete bool   `json:"complete"`
	OTP      secret `json:"otp"`           // only on beginning
	Token    secret `json:"encoded_token"` // only when complete
	// Root is the same as Token, under the name that it had first.
	Root secret `json:"encoded_root_token"`
}

func (a *attempt) encoded() []byte {
	if len(a.Token) > 0 {
		return a.Token
	}
	return a.Root
}

func (a *attempt) wipe() {
	clear(a.OTP)
	clear(a.Token)
	clear(a.Root)
}

// caller calls Vault in the name of one token.
type caller struct {
	client *api.Client
}

func newCaller(client *api.Client, token []byte) (*caller, error) {
	clone, err := client.Clone()
	if err != nil {
		return nil, fmt.Errorf("copying the client of Vault: %w", err)
	}
	clone.SetToken(string(bytes.TrimSpace(token)))
	return &caller{client: clone}, nil
}

// call sends body and reads the answer into out, if that is not nil. The typed
// calls of the client keep shares and pads in strings, which cannot be wiped.
func (c *caller) call(ctx context.Context, method, path string, body []byte, out any) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	req := c.client.NewRequest(method, path)
	req.BodyBytes = body
	//lint:ignore SA1019 see above
	resp, err := c.client.RawRequestWithContext(ctx, req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if out == nil {
		return nil
	}
	raw, err := io.ReadAll(io.LimitReader(resp.Body, answerLimit))
	defer clear(raw)
	if err != nil {
		return fmt.Errorf("reading Vault's answer: %w", err)
	}
	if json.Unmarshal(raw, out) != nil { // its error could quote the answer
		return errors.New("reading Vault's answer: it is not the JSON that was expected")
	}
	return nil
}

func (c *caller) attempt(ctx context.Context, method, path string, body []byte) (*attempt, error) {
	var a attempt
	if err := c.call(ctx, method, path, body, &a); err != nil {
		a.wipe()
		return nil, err
	}
	return &a, nil
}

// share submits one share.
func (c *caller) share(ctx context.Context, share []byte, nonce string) (*attempt, error) {
	key := bytes.TrimSpace(share)
	if bytes.ContainsAny(key, "\"\\") {
		return nil, fmt.Errorf("%w: one of them is neither base64 nor hex", ErrShares)
	}
	named, err := json.Marshal(nonce)
	if err != nil {
		return nil, fmt.Errorf("encoding the attempt's nonce: %w", err)
	}
	body := make([]byte, 0, len(key)+len(named)+32) // never grown, so that no copy stays behind
	body = append(body, `{"nonce":`...)
	body = append(body, named...)
	body = append(body, `,"key":"`...)
	body = append(body, key...)
	body = append(body, `"}`...)
	defer clear(body)
	return c.attempt(ctx, http.MethodPut, updatePath, body)
}

// answered tells whether err is Vault's answer with this HTTP status.
func answered(err error, status int) bool {
	var answer *api.ResponseError
	return errors.As(err, &answer) && answer.StatusCode == status
}
