package load

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
)

// LeaseRole is the role of the ssh secrets engine that gives leases, and LeaseHost
// an address that it must allow. Nothing listens there (RFC 5737).
const (
	LeaseRole = "load"
	LeaseHost = "192.0.2.1"
)

// leases are one-time passwords of an ssh secrets engine: real leases that cost
// Vault next to nothing. They cannot be renewed.
type leases struct{ *client }

func (leases) name() string { return "lease" }

func (l leases) issue(ctx context.Context) reply {
	body := []byte(`{"ip":"` + LeaseHost + `"}`)
	return l.do(ctx, request{method: http.MethodPost, path: l.mount + "/creds/" + LeaseRole, body: body}).judge(
		func(body []byte, r *reply) string {
			var got struct {
				LeaseID       string `json:"lease_id"`
				LeaseDuration int64  `json:"lease_duration"`
			}
			if json.Unmarshal(body, &got) != nil || got.LeaseID == "" || got.LeaseDuration <= 0 {
				return "the answer holds no lease with a life"
			}
			r.value, r.lasts = got.LeaseID, got.LeaseDuration
			return ""
		})
}

func (l leases) use(ctx context.Context, id string, _ bool) reply {
	a := l.do(ctx, request{method: http.MethodPost, path: l.root + "sys/leases/lookup", body: leaseBody(id, "")})
	r := harmless(a.judge(anything))
	r.denied = a.status == http.StatusBadRequest && strings.Contains(r.err, "invalid lease")
	return r
}

func (l leases) revoke(ctx context.Context, id string) reply {
	// With sync Vault answers when it is done.
	return l.do(ctx, request{method: http.MethodPost, path: l.root + "sys/leases/revoke", body: leaseBody(id, `,"sync":true`)}).judge(anything)
}

func leaseBody(id, more string) []byte {
	return []byte(`{"lease_id":` + strconv.Quote(id) + more + `}`)
}
