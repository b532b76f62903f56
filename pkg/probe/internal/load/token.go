package load

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// tokens are children of the load's own token: they end with it, whatever else
// becomes of them. They have the default policy alone, which lets them look at,
// renew and revoke themselves.
type tokens struct{ *client }

func (tokens) name() string { return "token" }

func (k tokens) issue(ctx context.Context) reply {
	body := fmt.Appendf(nil, `{"policies":["default"],"ttl":"%ds","display_name":"load"}`, int(grantLife/time.Second))
	return k.do(ctx, request{method: http.MethodPost, path: k.root + "auth/token/create", body: body}).judge(readToken)
}

func (k tokens) use(ctx context.Context, id string, renew bool) reply {
	if !renew {
		return denied(harmless(k.do(ctx, request{method: http.MethodGet, path: k.root + "auth/token/lookup-self", token: id}).judge(anything)))
	}
	return denied(k.do(ctx, request{method: http.MethodPost, path: k.root + "auth/token/renew-self", token: id}).judge(readToken))
}

func (k tokens) revoke(ctx context.Context, id string) reply {
	return k.do(ctx, request{method: http.MethodPost, path: k.root + "auth/token/revoke-self", token: id}).judge(anything)
}

// readToken reads a token and how long it lasts.
func readToken(body []byte, r *reply) string {
	var got struct {
		Auth struct {
			ClientToken   string `json:"client_token"`
			LeaseDuration int64  `json:"lease_duration"`
		} `json:"auth"`
	}
	if json.Unmarshal(body, &got) != nil || got.Auth.ClientToken == "" || got.Auth.LeaseDuration <= 0 {
		return "the answer holds no token with a life"
	}
	r.value, r.lasts = got.Auth.ClientToken, got.Auth.LeaseDuration
	return ""
}

// anything is enough of an answer.
func anything([]byte, *reply) string { return "" }

// denied marks a reply by which Vault says that it does not know the token. A
// token that may not do something is refused with other words.
func denied(r reply) reply {
	r.denied = strings.HasPrefix(r.err, "HTTP 403") && strings.Contains(r.err, "invalid token")
	return r
}
