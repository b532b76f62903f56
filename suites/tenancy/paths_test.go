package tenancy

import (
	"slices"
	"testing"
)

func TestWhichPathsOverlap(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"tenant-a-kv/data/*", "tenant-b-kv/data/*", false},
		{"tenant-a-kv/data/*", "tenant-a-kv/data/x", true},
		{"tenant-a*", "tenant-ab-kv/data/x", true}, // the tenant called ab is in reach of the one called a
		{"tenant-a/*", "tenant-ab/x", false},
		{"+/data/x", "tenant-b-kv/data/x", true},
		{"+/data/x", "tenant-b-kv/metadata/x", false},
		{"*", "anything/at/all", true},
		{"secret/{{identity.entity.id}}/x", "secret/fixed/x", true},
		{"a/b", "a/b/c", false},
		{"a/+", "a/b/c", false},
		{"a/+/*", "a/b/c/d", true},
		{"a/b*", "a/+/c", true},
		{"a/bc*", "a/b*", true},
		{"a/x*", "a/b*", false},
		{"a", "a", true},
	} {
		if overlap(c.a, c.b) != c.want || overlap(c.b, c.a) != c.want {
			t.Errorf("%s and %s overlap: want %t", c.a, c.b, c.want)
		}
	}
}

func TestPathsOfAPolicy(t *testing.T) {
	got, err := pathsOf(`
path "tenant-a-kv/data/*" { capabilities = ["read"] }
path "/tenant-a-transit/encrypt/app" { capabilities = ["update"] }
path "tenant-b-kv/*" { capabilities = ["deny"] }
path "old" { policy = "write" }
path "sys/leases/renew" {
  capabilities       = ["update"]
  allowed_parameters = { "lease_id" = ["tenant-database/a/creds/app/*"], "increment" = [] }
}
path "sys/leases/revoke" { capabilities = ["update"] }`)
	if want := []string{
		"tenant-a-kv/data/*", "tenant-a-transit/encrypt/app", "old", "sys/leases/renew/tenant-database/a/creds/app/*", "sys/leases/revoke/*",
	}; err != nil || !slices.Equal(got, want) {
		t.Errorf("paths %v (%v), want %v", got, err, want)
	}
	if _, err := pathsOf(`path "x" {`); err == nil {
		t.Error("half a policy is parsed")
	}
}

func TestWhatTwoPoliciesShare(t *testing.T) {
	a := []string{"auth/token/renew-self", "tenant-a-kv/data/*"}
	if got := shared(a, []string{"auth/token/renew-self", "tenant-b-kv/data/*"}); len(got) != 0 {
		t.Errorf("shared %v, want nothing but what every token may do with itself", got)
	}
	if got := shared(a, []string{"auth/token/*", "tenant-+"}); len(got) != 1 {
		t.Errorf("shared %v, want what all tokens may be reached by", got)
	}
	if got := shared(a, []string{"+/data/app"}); len(got) != 1 {
		t.Errorf("shared %v, want the first tenant's secrets", got)
	}
}
