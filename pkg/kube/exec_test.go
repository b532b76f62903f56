package kube

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

func TestCommandThatIsRefusedSaysWhere(t *testing.T) {
	var asked string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = r.URL.String()
		http.Error(w, "you may not", http.StatusForbidden)
	}))
	defer server.Close()
	config := &rest.Config{Host: server.URL}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	_, err = Command{Namespace: "vault", Pod: "vault-0", Container: "bootstrap", Args: []string{"version"}}.Output(t.Context(), config, client)
	if err == nil || !strings.Contains(err.Error(), "container bootstrap of pod vault/vault-0") {
		t.Errorf("the error is %v", err)
	}
	for _, part := range []string{"/namespaces/vault/pods/vault-0/exec", "container=bootstrap", "command=version"} {
		if !strings.Contains(asked, part) {
			t.Errorf("%q was asked for, want %q in it", asked, part)
		}
	}
}
