package load

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/vaultproof/vaultproof/pkg/history"
)

// LoginKind is the kind of an operation that asks for a token with a service account's. It
// is judged by its outages alone: no history tells what becomes of the token.
const LoginKind history.Kind = "login"

// logins ask for a token, again and again, and throw it away. An application that starts
// does the same once.
type logins struct {
	*stream
	path string
	body []byte
}

func newLogins(s *stream) *logins {
	body, _ := json.Marshal(map[string]string{"role": s.cfg.Role, "jwt": s.cfg.JWT}) // strings always can be
	return &logins{stream: s, path: s.client.root + "auth/" + s.cfg.Mount + "/login", body: body}
}

func (l *logins) next() task {
	op := history.Op{Kind: LoginKind, Key: l.cfg.Mount}
	return task{op: op, do: func(ctx context.Context, t turn) history.Outcome {
		op := t.begin(op)
		got := l.client.do(ctx, request{method: http.MethodPost, path: l.path, body: l.body}).judge(readToken)
		got.err = strings.ReplaceAll(got.err, l.cfg.JWT, "the service account's token")
		got.into(&op)
		t.end(op, false)
		return op.Outcome
	}}
}

// final has nothing to ask for: nobody kept anything.
func (*logins) final(context.Context, *history.Final) error { return nil }
