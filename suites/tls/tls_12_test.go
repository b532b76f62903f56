package tls

import (
	"crypto/tls"
	"net/http"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

func TestStrict(t *testing.T) {
	for value, want := range map[string]string{
		"max-age=31536000; includeSubDomains": "",
		`MAX-AGE="31536000"`:                  "",
		"":                                    "want max-age",
		"max-age=0":                           "forgets it too soon",
		"max-age=3600":                        "forgets it too soon",
		"includeSubDomains":                   "want max-age",
		"max-age=99999999999999999999999":     "forgets it too soon",
	} {
		header := http.Header{}
		header.Set("Strict-Transport-Security", value)
		says(t, value, strict("vault-0", header), want)
	}
	vault, _ := fakeVault(t, publicHost)
	var got answer
	_, err := greet(t.Context(), vault, unverified(publicHost), func(conn *tls.Conn) error {
		var err error
		got, err = ask(conn, "GET / HTTP/1.0\r\nHost: vault\r\n\r\n")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	says(t, "a server that sends it", strict("vault-0", got.header), "")
}

func TestMaintained(t *testing.T) {
	for image, c := range map[string]struct {
		known bool
		want  string
	}{
		"traefik:v3.6.12":               {true, ""},
		"docker.io/library/traefik:3.6": {true, ""},
		"traefik:v2.11.0":               {true, "no security fixes"},
		"traefik:v1.7":                  {true, "no security fixes"},
		"traefik@sha256:0123":           {false, ""},
		"traefik:latest":                {false, ""},
		"registry.k8s.io/ingress-nginx/controller:v1.15":               {true, "retired in March 2026"},
		"registry.k8s.io/ingress-nginx/controller:v1.15.1@sha256:0123": {true, "retired in March 2026"},
		"registry.example.org:5000/mirror/traefik:v3.7.0":              {true, ""},
		"example.org/own/proxy:v1":                                     {false, ""},
	} {
		known, err := maintained(&corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Image: image}}}})
		says(t, image, err, c.want)
		if known != c.known {
			t.Errorf("%s: known %t, want %t", image, known, c.known)
		}
	}
}
