package stack

import (
	"errors"
	"net"
	"slices"
	"strings"
	"testing"
)

func TestOptionsAreChecked(t *testing.T) {
	for want, opts := range map[string]Options{
		"Custody.Project":    {Custody: Custody{Audience: "a"}},
		"Custody.Audience":   {Custody: Custody{Project: "p"}},
		"no network in CIDR": {Custody: Custody{Project: "p", Audience: "a", CIDRs: []string{"10.0.0.1"}}},
	} {
		if _, err := opts.withDefaults(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	opts := testOptions()
	opts.Overlay = "moon"
	if _, err := render(opts, testFacts(t)); err == nil || !strings.Contains(err.Error(), "[gke kind minimal]") {
		t.Errorf("got %v, want the overlays that exist", err)
	}
}

func TestCustodyAddresses(t *testing.T) {
	lookup := func(string) ([]net.IP, error) {
		return []net.IP{net.ParseIP("172.18.0.9"), net.ParseIP("fd00::9")}, nil
	}
	got, err := Custody{Endpoint: "secrets:443"}.resolve(lookup)
	if want := []address{{"172.18.0.9/32", 443}, {"fd00::9/128", 443}}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, %v; want %v", got, err, want)
	}
	nothing := func(string) ([]net.IP, error) { return nil, errors.New("no such host") }
	for want, custody := range map[string]Custody{
		"not host:port":                          {Endpoint: "secrets"},
		"no port number":                         {Endpoint: "secrets:https"},
		"has no address":                         {Endpoint: "secrets:443"},
		"set Options.Custody.CIDRs, for example": {},
	} {
		if _, err := custody.resolve(nothing); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	got, err = Custody{CIDRs: []string{"199.36.153.8/30"}}.resolve(nothing)
	if err != nil || !slices.Equal(got, []address{{"199.36.153.8/30", 443}}) {
		t.Errorf("got %v, %v", got, err)
	}
}
