package target

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/vaultproof/vaultproof/pkg/custody"
	"github.com/vaultproof/vaultproof/pkg/leak"
)

// Needles are all secrets of this target that custody holds, for scanning and
// redaction: every share and every token, and the admin token that was given. A secret without an enabled version
// (a destroyed root token) is passed over; one that cannot be read is an error,
// because what is not known cannot be searched for.
func (t *Target) Needles(ctx context.Context) ([]leak.Needle, error) {
	var needles []leak.Needle
	if len(t.admin) > 0 {
		needles = append(needles, leak.Needle{Name: "admin token", Value: t.admin})
	}
	names, err := t.CustodySecrets(ctx)
	if errors.Is(err, ErrNoCustody) && len(needles) > 0 {
		return needles, nil
	}
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		suffix := strings.TrimPrefix(name, t.CustodyPrefix+"-")
		if !strings.HasPrefix(suffix, ShareSecret) && !strings.HasSuffix(suffix, tokenSuffix) {
			continue // a lock or a proof of the bootstrap, which is no secret
		}
		secret, err := t.readCustody(ctx, name)
		if errors.Is(err, custody.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("reading %s from custody: %w", name, err)
		}
		needles = append(needles, needlesOf(suffix, secret.Payload)...)
	}
	if len(needles) == 0 {
		return nil, fmt.Errorf("custody holds no secret with prefix %s- that could be searched for", t.CustodyPrefix)
	}
	return needles, nil
}

// needlesOf gives what a payload may leak as. A share is text that encodes
// bytes: those bytes are the secret, in whatever encoding they show up.
func needlesOf(name string, payload []byte) []leak.Needle {
	text := strings.TrimSpace(string(payload))
	if !strings.HasPrefix(name, ShareSecret) {
		return []leak.Needle{{Name: name, Value: []byte(text)}}
	}
	for _, decode := range []func(string) ([]byte, error){
		hex.DecodeString, base64.StdEncoding.DecodeString,
	} {
		if raw, err := decode(text); err == nil && (len(raw) == 32 || len(raw) == 33) {
			return []leak.Needle{{Name: name, Value: raw}}
		}
	}
	return []leak.Needle{{Name: name, Value: []byte(text)}}
}
