package ops

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/vault/api"
)

// clearSettings are what Vault is told to record as it is.
type clearSettings struct {
	// headers of requests, by name: true if they are hashed.
	headers map[string]bool
	// keys of requests and responses, by mount.
	keys map[string][]string
}

func readClearSettings(ctx context.Context, root *api.Client) (clearSettings, error) {
	s := clearSettings{headers: map[string]bool{}, keys: map[string][]string{}}
	secret, err := root.Logical().ReadWithContext(ctx, "sys/config/auditing/request-headers")
	if err != nil {
		return s, fmt.Errorf("reading sys/config/auditing/request-headers: %w", err)
	}
	if secret != nil {
		headers, _ := secret.Data["headers"].(map[string]any)
		for name, v := range headers {
			options, _ := v.(map[string]any)
			s.headers[name], _ = options["hmac"].(bool)
		}
	}
	mounts, err := root.Sys().ListMountsWithContext(ctx)
	if err != nil {
		return s, fmt.Errorf("reading sys/mounts: %w", err)
	}
	auths, err := root.Sys().ListAuthWithContext(ctx)
	if err != nil {
		return s, fmt.Errorf("reading sys/auth: %w", err)
	}
	for path, m := range mounts {
		s.keys[path] = slices.Concat(m.Config.AuditNonHMACRequestKeys, m.Config.AuditNonHMACResponseKeys)
	}
	for path, a := range auths {
		s.keys["auth/"+path] = slices.Concat(a.Config.AuditNonHMACRequestKeys, a.Config.AuditNonHMACResponseKeys)
	}
	return s, nil
}

// What carries secrets, in small letters.
var (
	secretHeaders = []string{"authorization", "cookie", "proxy-authorization", "x-vault-token", "x-vault-wrap-token"}
	secretKeys    = []string{"client_token", "data", "jwt", "key", "password", "private_key", "secret", "secret_id", "token", "value"}
)

func (s clearSettings) judge() error {
	for _, name := range slices.Sorted(maps.Keys(s.headers)) {
		if !s.headers[name] && slices.Contains(secretHeaders, strings.ToLower(name)) {
			return fmt.Errorf("sys/config/auditing/request-headers records header %s as it is, want it hashed or left out: it carries tokens", name)
		}
	}
	for _, mount := range slices.Sorted(maps.Keys(s.keys)) {
		for _, key := range s.keys[mount] {
			if slices.Contains(secretKeys, strings.ToLower(key)) {
				return fmt.Errorf("mount %s has %q among its audit_non_hmac keys, want it hashed: it carries secrets", mount, key)
			}
		}
	}
	return nil
}
