package bootstrap

import (
	"errors"
	"strings"
	"testing"

	"github.com/hashicorp/vault/api"

	"github.com/vaultproof/vaultproof/pkg/target"
)

var (
	lookSealed = target.SealLook{Status: &api.SealStatusResponse{Initialized: true, Sealed: true}}
	lookOpen   = target.SealLook{Status: &api.SealStatusResponse{Initialized: true}}
	lookEmpty  = target.SealLook{Status: &api.SealStatusResponse{Sealed: true}}
	lookSilent = target.SealLook{Err: errors.New("connection refused")}
)

func TestStaysSealed(t *testing.T) {
	for name, c := range map[string]struct {
		looks []target.SealLook
		want  string
	}{
		"all the while":  {[]target.SealLook{lookSealed, lookSealed}, ""},
		"a gap":          {[]target.SealLook{lookSealed, lookSilent, lookSealed}, ""},
		"unsealed once":  {[]target.SealLook{lookSealed, lookOpen, lookSealed}, "was unsealed"},
		"its data gone":  {[]target.SealLook{lookSealed, lookEmpty}, "lost its data"},
		"mostly silent":  {[]target.SealLook{lookSealed, lookSilent, lookSilent}, "1 of 3"},
		"never answered": {[]target.SealLook{lookSilent}, "0 of 1"},
		"not looked at":  {nil, "0 of 0"},
	} {
		err := staysSealed("vault-1", c.looks)
		if (c.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func TestSaysAll(t *testing.T) {
	const log = "a first line about Custody\nsecret vault-x: denied by custody\n"
	if !saysAll(log, "custody", "vault-x") {
		t.Error("what the log says is not found")
	}
	if saysAll(log, "first", "vault-x") || saysAll("", "custody") {
		t.Error("words of two lines, or of none, are found in one")
	}
}
