package ops

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/vault/api"
	corev1 "k8s.io/api/core/v1"

	"github.com/vaultproof/vaultproof/pkg/target"
)

const (
	// askFor bounds one question; a profile of a second is the longest answer.
	askFor = 10 * time.Second
	// mostHops is how often a question may be handed on. Once is enough, unless
	// another pod became active in between.
	mostHops = 2
)

// asker asks pods without a token, and goes where they hand on to.
type asker struct {
	pods  []corev1.Pod
	reach func(ctx context.Context, pod string) (*api.Client, func(), error)

	clients map[string]*api.Client
	ends    []func()
}

func newAsker(t *target.Target, pods []corev1.Pod) *asker {
	return &asker{pods: pods, reach: t.Pod, clients: map[string]*api.Client{}}
}

// askAll asks every pod for everything that is guarded.
func (a *asker) askAll(ctx context.Context) ([]podAnswer, error) {
	var answers []podAnswer
	for _, pod := range a.pods {
		for _, path := range append(slices.Clone(guarded), control) {
			answer, err := a.ask(ctx, pod.Name, path)
			if err != nil {
				return nil, err
			}
			answers = append(answers, answer)
		}
	}
	return answers, nil
}

// ask asks one pod, and the one that it hands on to. A standby answers a path that is
// not forwarded with 307 and the address of the active pod, before it looks at any
// token (http/handler.go, respondStandby). That tells no more than sys/leader tells
// anybody, and shows nothing about the path either.
func (a *asker) ask(ctx context.Context, pod, path string) (podAnswer, error) {
	answer := podAnswer{path: path}
	for {
		answer.via = append(answer.via, pod)
		code, next, err := a.once(ctx, pod, path)
		if err != nil {
			return answer, fmt.Errorf("asking %s for %s without a token: %w", answer.who(), path, err)
		}
		answer.code = code
		if next == nil {
			return answer, nil
		}
		found := podAt(a.pods, next.Hostname())
		if found == "" || found == pod || len(answer.via) > mostHops {
			answer.lost = next.Redacted()
			return answer, nil
		}
		pod, path = found, strings.TrimPrefix(next.RequestURI(), "/v1/")
	}
}

// once asks one pod, reads no more than the status, and tells where the answer leads.
func (a *asker) once(ctx context.Context, pod, path string) (code int, next *url.URL, err error) {
	client, err := a.client(ctx, pod)
	if err != nil {
		return 0, nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, askFor)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, client.Address()+"/v1/"+path, http.NoBody)
	if err != nil {
		return 0, nil, fmt.Errorf("preparing the question: %w", err)
	}
	// The client of the API goes after redirects by itself, to the same pod.
	plain := client.CloneConfig().HttpClient
	plain.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	response, err := plain.Do(request)
	if err != nil {
		return 0, nil, err
	}
	response.Body.Close()
	if response.StatusCode < 300 || response.StatusCode > 399 {
		return response.StatusCode, nil, nil
	}
	if next, err = response.Location(); err != nil {
		return response.StatusCode, nil, nil // it leads nowhere
	}
	return response.StatusCode, next, nil
}

func (a *asker) client(ctx context.Context, pod string) (*api.Client, error) {
	if client := a.clients[pod]; client != nil {
		return client, nil
	}
	client, end, err := a.reach(ctx, pod)
	if err != nil {
		return nil, err
	}
	a.clients[pod], a.ends = client, append(a.ends, end)
	return client, nil
}

func (a *asker) close() {
	for _, end := range a.ends {
		end()
	}
}

// podAt finds the pod that a host of Vault's address is: by the pod's address, or by
// its name, which is how it is called behind a headless Service.
func podAt(pods []corev1.Pod, host string) string {
	name, _, _ := strings.Cut(host, ".")
	for _, pod := range pods {
		ip := net.ParseIP(host)
		if ip == nil && pod.Name == name {
			return pod.Name
		}
		for _, known := range append([]corev1.PodIP{{IP: pod.Status.PodIP}}, pod.Status.PodIPs...) {
			if ip != nil && ip.Equal(net.ParseIP(known.IP)) {
				return pod.Name
			}
		}
	}
	return ""
}
