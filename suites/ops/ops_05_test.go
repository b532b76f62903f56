package ops

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/hashicorp/vault/api"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestShut(t *testing.T) {
	one := func(pod, path string, code int) podAnswer {
		return podAnswer{via: []string{pod}, path: path, code: code}
	}
	closed := []podAnswer{one("vault-0", "sys/metrics", 403), one("vault-0", "sys/pprof/", 403), one("vault-0", control, 200)}
	with := func(more ...podAnswer) []podAnswer { return append(more, closed...) }
	handed := func(code int) podAnswer {
		return podAnswer{via: []string{"vault-1", "vault-0"}, path: "sys/metrics", code: code}
	}
	for name, c := range map[string]struct {
		answers []podAnswer
		silent  bool
		want    string
	}{
		"shut":                       {closed, false, ""},
		"open metrics":               {with(one("vault-1", "sys/metrics", 200)), false, "pod vault-1 answers sys/metrics without a token with 200, want 403"},
		"open pprof":                 {with(one("vault-1", "sys/pprof/", 200)), false, "answers sys/pprof/ without a token"},
		"open on a sealed pod":       {with(one("vault-1", "sys/raw", 503), one("vault-1", "sys/metrics", 200)), false, "pod vault-1 answers sys/metrics"},
		"handed on and refused":      {with(handed(403)), false, ""},
		"handed on and open":         {with(handed(200)), false, "pod vault-0 (to which vault-1 handed on) answers sys/metrics without a token with 200"},
		"handed on, then sealed":     {with(handed(503)), true, "with 503, want 403"},
		"handed on to who knows who": {with(podAnswer{via: []string{"vault-1"}, path: "sys/pprof/", code: 307, lost: "https://vault.example.com"}), true, "pod vault-1 hands sys/pprof/ on to https://vault.example.com (307)"},
		"handed on to nowhere":       {with(one("vault-1", "sys/pprof/", 307)), true, "with 307, want 403"},
		"not there":                  {with(one("vault-1", "sys/in-flight-req", 404)), true, "with 404, want 403"},
		"sealed":                     {with(one("vault-1", "sys/metrics", 503)), true, "pod vault-1 answers sys/metrics without a token with 503"},
		"no control":                 {with(one("vault-1", control, 403)), true, "want 200 as a control"},
		"nobody to judge":            {nil, true, "there is no Vault pod"},
	} {
		err := shut(c.answers)
		if (c.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.want) || errors.Is(err, errSilent) != c.silent {
			t.Errorf("%s: error %v, want %q, silent %t", name, err, c.want, c.silent)
		}
	}
}

// twoPods are an active pod, vault-0, and a standby that hands on as Vault does.
func twoPods(t *testing.T, active, standby http.HandlerFunc) *asker {
	t.Helper()
	a := &asker{clients: map[string]*api.Client{}, reach: func(_ context.Context, pod string) (*api.Client, func(), error) {
		server := httptest.NewServer(map[string]http.HandlerFunc{"vault-0": active, "vault-1": standby}[pod])
		t.Cleanup(server.Close)
		client, err := api.NewClient(&api.Config{Address: server.URL})
		return client, func() {}, err
	}}
	for _, name := range []string{"vault-0", "vault-1"} {
		a.pods = append(a.pods, corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}})
	}
	t.Cleanup(a.close)
	return a
}

// status answers with this code, but for the control.
func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/"+control {
			w.WriteHeader(code)
		}
	}
}

// handsOn redirects to an address, with the path and query of the question.
func handsOn(address string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/"+control {
			w.Header().Set("Location", address+r.URL.RequestURI())
			w.WriteHeader(http.StatusTemporaryRedirect)
		}
	}
}

func TestRedirectsAreFollowed(t *testing.T) {
	const toActive = "https://vault-0.vault-internal.vault.svc.cluster.local:8200"
	refuses := status(http.StatusForbidden)
	opens := func(path string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if r.URL.RequestURI() != "/v1/"+path {
				refuses(w, r)
			}
		}
	}
	for name, c := range map[string]struct {
		active, standby http.HandlerFunc
		silent          bool
		want            string
	}{
		"both refuse":             {refuses, refuses, false, ""},
		"a standby hands on":      {refuses, handsOn(toActive), false, ""},
		"the active one is open":  {opens("sys/metrics?format=prometheus"), handsOn(toActive), false, "pod vault-0 answers sys/metrics?format=prometheus without a token with 200"},
		"the standby is open":     {refuses, opens("sys/pprof/heap"), false, "pod vault-1 answers sys/pprof/heap without a token with 200"},
		"raw storage is open":     {opens("sys/raw/core/keyring"), handsOn(toActive), false, "sys/raw/core/keyring without a token with 200"},
		"it hands on to itself":   {refuses, handsOn("https://vault-1.vault-internal:8200"), true, "pod vault-1 hands sys/metrics on to https://vault-1.vault-internal:8200"},
		"they hand on for ever":   {handsOn("https://vault-1.vault-internal:8200"), handsOn(toActive), true, "hands sys/metrics on to"},
		"it hands on to outside":  {refuses, handsOn("https://vault.example.com"), true, "hands sys/metrics on to https://vault.example.com/v1/sys/metrics (307), which is none of the other Vault pods"},
		"the active is sealed":    {status(http.StatusServiceUnavailable), handsOn(toActive), true, "with 503, want 403"},
		"the standby is away, so": {refuses, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, true, "asking pod vault-1 for sys/metrics without a token"},
	} {
		answers, err := twoPods(t, c.active, c.standby).askAll(t.Context())
		failedToAsk := err != nil
		if err == nil {
			err = shut(answers)
		}
		if (c.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.want) || (failedToAsk || errors.Is(err, errSilent)) != c.silent {
			t.Errorf("%s: error %v, want %q, silent %t", name, err, c.want, c.silent)
		}
	}
}

// TestAPathIsHandedOnAsItIs: with its query, and once.
func TestAPathIsHandedOnAsItIs(t *testing.T) {
	var asked []string
	a := twoPods(t, func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.RequestURI())
		if r.Header.Get("X-Vault-Token") != "" {
			t.Error("a token was sent")
		}
		w.WriteHeader(http.StatusForbidden)
	}, handsOn("https://vault-0:8200"))
	for _, path := range guarded {
		asked = nil
		answer, err := a.ask(t.Context(), "vault-1", path)
		if err != nil || answer.code != http.StatusForbidden || len(answer.via) != 2 || len(asked) != 1 || asked[0] != "/v1/"+path {
			t.Errorf("%s: answer %+v, error %v, the active pod was asked for %v", path, answer, err, asked)
		}
	}
}

func TestPodAt(t *testing.T) {
	pods := []corev1.Pod{
		{ObjectMeta: metav1.ObjectMeta{Name: "vault-0"}, Status: corev1.PodStatus{PodIP: "10.244.1.3", PodIPs: []corev1.PodIP{{IP: "10.244.1.3"}, {IP: "fd00::3"}}}},
		{ObjectMeta: metav1.ObjectMeta{Name: "vault-10"}},
	}
	for host, want := range map[string]string{
		"vault-0": "vault-0", "vault-0.vault-internal.vault.svc.cluster.local": "vault-0", "vault-10.vault-internal": "vault-10",
		"10.244.1.3": "vault-0", "fd00:0::3": "vault-0", "10.244.1.30": "", "vault-1": "", "vault.example.com": "", "": "",
	} {
		if got := podAt(pods, host); got != want {
			t.Errorf("%q is pod %q, want %q", host, got, want)
		}
	}
}

func TestOff(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want string
	}{
		"ours":        {"raw_storage_endpoint   = false\nintrospection_endpoint = false\n", ""},
		"by default":  {"ui = false\n# raw_storage_endpoint = true\n", ""},
		"raw":         {"  raw_storage_endpoint = true\n", "vault.hcl: raw_storage_endpoint is on"},
		"as a string": {`introspection_endpoint = "true"`, "vault.hcl: introspection_endpoint is on"},
		"JSON":        {`{"ui":false,"raw_storage_endpoint":true}`, "raw_storage_endpoint is on"},
		"twice":       {"raw_storage_endpoint = true\nraw_storage_endpoint = false\n", "raw_storage_endpoint is on"},
		"nonsense":    {"raw_storage_endpoint = yes\n", "raw_storage_endpoint is on"},
	} {
		settings := map[string]bool{}
		for setting, on := range settingsIn(c.text) {
			settings["ConfigMap vault-config/vault.hcl: "+setting] = on
		}
		err := off(settings)
		if (c.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", name, err, c.want)
		}
	}
	if err := off(map[string]bool{"sys/config/state/sanitized: raw_storage_endpoint": true}); err == nil {
		t.Error("what Vault itself says went unnoticed")
	}
}
