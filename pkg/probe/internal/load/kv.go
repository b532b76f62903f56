package load

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"

	"github.com/vaultproof/vaultproof/pkg/history"
)

// write sets key to value if its version is cas.
func (c *client) write(ctx context.Context, key, value string, cas int) reply {
	a := c.do(ctx, request{method: http.MethodPost, path: c.data + key, body: entry(value, cas)})
	r := a.judge(func(body []byte, r *reply) string {
		var got struct {
			Data struct {
				Version int `json:"version"`
			} `json:"data"`
		}
		if json.Unmarshal(body, &got) != nil || got.Data.Version <= 0 {
			return "the answer to the write holds no version"
		}
		r.version = got.Data.Version
		return ""
	})
	r.mismatch = a.status == http.StatusBadRequest && strings.Contains(r.err, "check-and-set")
	return r
}

// entry is the body of a write. It is made by hand, as thousands of them are.
func entry(value string, cas int) []byte {
	body := append(make([]byte, 0, 64+len(value)), `{"options":{"cas":`...)
	body = strconv.AppendInt(body, int64(cas), 10)
	body = append(body, `},"data":{"value":`...)
	body = strconv.AppendQuote(body, value) // values are plain ASCII, where Go and JSON quote alike
	return append(body, `}}`...)
}

// read reads key. A key that does not exist has version 0.
func (c *client) read(ctx context.Context, key string) reply {
	a := c.do(ctx, request{method: http.MethodGet, path: c.data + key})
	if absent(a) {
		r := a.reply
		r.outcome = history.OK
		return r
	}
	r := a.judge(func(body []byte, r *reply) string {
		var got struct {
			Data struct {
				Data     map[string]string `json:"data"`
				Metadata struct {
					Version int `json:"version"`
				} `json:"metadata"`
			} `json:"data"`
		}
		if json.Unmarshal(body, &got) != nil || got.Data.Metadata.Version <= 0 {
			return "the answer to the read holds no version"
		}
		r.version, r.value = got.Data.Metadata.Version, got.Data.Data["value"]
		return ""
	})
	return harmless(r)
}

// list reads the names in a folder; one that does not exist has none.
func (c *client) list(ctx context.Context, folder string) ([]string, reply) {
	a := c.do(ctx, request{method: methodList, path: c.metadata + folder})
	if absent(a) {
		r := a.reply
		r.outcome = history.OK
		return nil, r
	}
	var got struct {
		Data struct {
			Keys []string `json:"keys"`
		} `json:"data"`
	}
	r := a.judge(func(body []byte, _ *reply) string {
		if json.Unmarshal(body, &got) != nil || got.Data.Keys == nil {
			return "the answer to the list holds no names"
		}
		return ""
	})
	return got.Data.Keys, harmless(r)
}

// absent tells whether Vault says that there is nothing: {"errors":[]}. Any web
// server can say 404.
func absent(a answer) bool {
	if a.status != http.StatusNotFound {
		return false
	}
	var got struct {
		Errors []string `json:"errors"`
	}
	return json.Unmarshal(a.body, &got) == nil && got.Errors != nil && len(got.Errors) == 0
}

// harmless is the reply to a request without effect: it is never in doubt.
func harmless(r reply) reply {
	if r.outcome == history.Unknown {
		r.outcome = history.Fail
	}
	return r
}
