package routing

import (
	"slices"
	"strings"
	"testing"

	discoveryv1 "k8s.io/api/discovery/v1"
)

func TestOnlyActiveIsReady(t *testing.T) {
	owners := map[string]string{"10.244.1.2": "vault-0, active", "10.244.1.3": "vault-2, sealed"}
	for name, c := range map[string]struct {
		ready []string
		want  string
	}{
		"right":      {[]string{"10.244.1.2"}, ""},
		"nothing":    {nil, "no ready address"},
		"a sealed":   {[]string{"10.244.1.2", "10.244.1.3"}, "lists 10.244.1.3 (vault-2, sealed)"},
		"a stranger": {[]string{"10.244.9.9"}, "lists 10.244.9.9 (no Vault pod)"},
	} {
		err := onlyActiveIsReady("vault-active", "vault-0", []string{"10.244.1.2"}, c.ready, owners)
		if (c.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func TestReadyIn(t *testing.T) {
	yes, no := true, false
	got := readyIn([]discoveryv1.EndpointSlice{{Endpoints: []discoveryv1.Endpoint{
		{Addresses: []string{"c"}, Conditions: discoveryv1.EndpointConditions{Ready: &yes}},
		{Addresses: []string{"b"}, Conditions: discoveryv1.EndpointConditions{Ready: &no}},
		{Addresses: []string{"a"}},
	}}, {Endpoints: []discoveryv1.Endpoint{{Addresses: []string{"a"}}}}})
	if !slices.Equal(got, []string{"a", "c"}) {
		t.Errorf("ready %v, want a and c: b is not ready, a has no condition", got)
	}
}
