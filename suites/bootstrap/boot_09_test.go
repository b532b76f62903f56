package bootstrap

import (
	"errors"
	"testing"
)

func TestAllRefused(t *testing.T) {
	refused := func(path string) answer { return answer{pod: "vault-0", path: path, status: 403} }
	good := []answer{refused(doors[0].path), refused(doors[1].path)}
	with := func(a answer) []answer { a.pod = "vault-1"; return append([]answer{a}, good...) }
	for name, c := range map[string]struct {
		answers []answer
		want    string
	}{
		"all refused":        {good, ""},
		"missing token":      {with(answer{path: doors[0].path, status: 400, errors: []string{"missing client token"}}), ""},
		"a redirect besides": {with(answer{path: doors[0].path, status: 307}), ""},
		"accepted":           {with(answer{path: doors[0].path, status: 200}), "pod vault-1 answers 200 to PUT sys/generate-root/attempt without a token, want 403"},
		"accepted, silent":   {with(answer{path: doors[1].path, status: 204}), "answers 204 to PUT sys/rekey/init"},
		"looked at":          {with(answer{path: doors[1].path, status: 400, errors: []string{"rekey already in progress"}}), "rekey already in progress"},
		"failing":            {with(answer{path: doors[1].path, status: 503}), "answers 503"},
		"redirects only":     {[]answer{refused(doors[0].path), {pod: "vault-1", path: doors[1].path, status: 307}}, "no pod answered PUT sys/rekey/init"},
		"nobody asked":       {nil, "no pod answered"},
	} {
		wants(t, name, allRefused(c.answers), c.want)
	}
	if err := allRefused(nil); !errors.Is(err, errBlind) {
		t.Errorf("without answers: %v", err)
	}
	if err := allRefused(with(answer{path: doors[0].path, status: 200})); errors.Is(err, errBlind) {
		t.Error("an accepted request is taken for blindness")
	}
}

func TestPutReadsTheAnswer(t *testing.T) {
	for status, body := range map[int]string{403: `{"errors":["permission denied"]}`, 400: `{"errors":["missing client token"]}`} {
		if got, err := put(t.Context(), vaultAnswering(t, status, body), doors[0]); err != nil || got.status != status || !got.refused() || got.accepted() {
			t.Errorf("status %d: %+v, error %v", status, got, err)
		}
	}
	if got, err := put(t.Context(), vaultAnswering(t, 200, `{"started":true,"nonce":"n"}`), doors[1]); err != nil || !got.accepted() || got.nonce != "n" {
		t.Errorf("an accepted rekey: %+v, error %v; want its nonce, without which it cannot be cancelled", got, err)
	}
	for status, body := range map[int]string{200: `{"started":true}`, 204: "", 400: `{"errors":["EOF"]}`} {
		if got, err := put(t.Context(), vaultAnswering(t, status, body), doors[0]); err != nil || got.status != status || got.refused() {
			t.Errorf("status %d: %+v, error %v", status, got, err)
		}
	}
}

func TestNothingOpen(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"absent":       {`listener "tcp" {}`, ""},
		"empty":        {"enable_unauthenticated_access = []\n", ""},
		"in a comment": {"# enable_unauthenticated_access = [\"rekey\"]\n", ""},
		"one":          {"ui = false\n  enable_unauthenticated_access = [\"generate-root\"]\n", `ConfigMap c/vault.hcl is ["generate-root"], want it empty`},
		"over lines":   {"enable_unauthenticated_access = [\n  \"rekey\",\n  \"generate-root\",\n]\n", `["rekey" "generate-root"]`},
		"JSON":         {`{"ui":false,"enable_unauthenticated_access":["rekey"]}`, `["rekey"]`},
	} {
		wants(t, name, nothingOpen(openIn(map[string]string{"c/vault.hcl": c.text})), c.want)
	}
	wants(t, "in effect", nothingOpen(map[string][]string{"sys/config/state/sanitized": {"rekey"}}), "sys/config/state/sanitized")
}
