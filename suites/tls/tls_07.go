package tls

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"

	"github.com/onsi/ginkgo/v2"

	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/target"
)

var tls07 = conformance.Check{
	ID: "TLS-07", Area: area, Level: conformance.Must, Manner: conformance.Reads,
	Assertion: "every pod's certificate is for all names by which peers, clients and its own sidecar reach it, and peers join over verified TLS",
	Source:    "hashicorp/vault-helm#645; hashicorp/vault#10854",
	Observe:   "the certificate of each pod: x509 VerifyHostname for the pod's name in the headless Service, the active Service, the public hosts and 127.0.0.1; retry_join in Vault's configuration",
}

var _ = conformance.It(tls07, conformance.Conformance, func(ctx ginkgo.SpecContext, r *conformance.Case) error {
	if err := offHere(r.Target, "no client and no peer can know whom it talks to"); err != nil {
		return err
	}
	pods, err := r.Target.Pods(ctx)
	if err != nil {
		return r.CannotTell(err)
	}
	if len(pods) == 0 {
		return errors.New("there is no Vault pod")
	}
	hosts, err := publicHosts(ctx, r)
	if err != nil {
		return err
	}
	files, err := r.Target.ConfigFiles(ctx)
	if err != nil {
		return r.CannotTell(err)
	}
	joined, err := joins(files)
	if err != nil {
		return err
	}
	var names []string
	for _, pod := range pods {
		leaf, err := leafOf(ctx, toPod(r.Target, pod.Name, target.VaultPort), r.Target.ServerName)
		if isUnreachable(err) {
			return r.CannotTell(err)
		}
		if err != nil {
			return fmt.Errorf("TLS with pod %s: %w", pod.Name, err)
		}
		names = slices.Concat(namesOf(r.Target, pod.Name), hosts, joined[pod.Name], joined[""])
		if err := covers(pod.Name, leaf, names); err != nil {
			return err
		}
	}
	r.Measure("names_total", float64(len(names)))
	return nil
})

// publicHosts are those of the ways to Vault from outside, if there are any to be seen.
func publicHosts(ctx context.Context, r *conformance.Case) ([]string, error) {
	ways, err := waysTo(ctx, r)
	if err != nil {
		return nil, r.CannotTell(err)
	}
	var hosts []string
	for _, d := range ways.Doors {
		// A door that ends TLS itself shows a certificate of its own.
		if d.Passthrough && d.Host != "" {
			hosts = append(hosts, d.Name())
		}
	}
	return hosts, nil
}

// namesOf are the names by which a pod is reached within the cluster.
func namesOf(t *target.Target, pod string) []string {
	names := []string{"127.0.0.1", t.ServerName}
	if t.ActiveService != "" {
		names = append(names, t.ActiveService, t.ActiveService+"."+t.Namespace)
	}
	if t.HeadlessService != "" {
		own := pod + "." + t.HeadlessService
		names = append(names, own, own+"."+t.Namespace+".svc.cluster.local")
	}
	return names
}

// covers judges a certificate.
func covers(pod string, leaf *x509.Certificate, names []string) error {
	for _, name := range names {
		if err := leaf.VerifyHostname(name); err != nil {
			return fmt.Errorf("the certificate %s of pod %s (valid until %s) is not for %s: whoever reaches it by that name must fail, or skip the verification: %w",
				fingerprint(leaf), pod, leaf.NotAfter.UTC().Format("2006-01-02"), name, err)
		}
	}
	return nil
}

var (
	joinBlock  = regexp.MustCompile(`(?s)\bretry_join"?\s*[:=]?\s*\[?\s*\{(.*?)\}`)
	joinAddr   = regexp.MustCompile(`"?leader_api_addr"?\s*[:=]\s*"([^"]+)"`)
	joinServer = regexp.MustCompile(`"?leader_tls_servername"?\s*[:=]\s*"([^"]+)"`)
	podLabel   = regexp.MustCompile(`^([a-z0-9-]+-[0-9]+)\.`)
	comment    = regexp.MustCompile(`(?m)^\s*(#|//).*$`)
)

// joins are the names by which peers verify each other when they join, by pod; "" for
// those that may be any pod's. Its error names an address without TLS.
func joins(files map[string]string) (map[string][]string, error) {
	names := map[string][]string{}
	for _, file := range slices.Sorted(maps.Keys(files)) {
		for _, block := range joinBlock.FindAllStringSubmatch(comment.ReplaceAllString(files[file], ""), -1) {
			address := joinAddr.FindStringSubmatch(block[1])
			if address == nil {
				continue // found by a cloud's means
			}
			u, err := url.Parse(address[1])
			if err != nil || u.Scheme != "https" {
				return nil, fmt.Errorf("%s has retry_join with leader_api_addr %q, want https: a pod would hand its join request to whoever answers", file, address[1])
			}
			name := u.Hostname()
			if server := joinServer.FindStringSubmatch(block[1]); server != nil {
				name = server[1]
			}
			pod := ""
			if match := podLabel.FindStringSubmatch(u.Hostname()); match != nil {
				pod = match[1]
			}
			names[pod] = append(names[pod], name)
		}
	}
	return names, nil
}
