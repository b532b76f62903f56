package tls

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/onsi/ginkgo/v2"
	corev1 "k8s.io/api/core/v1"

	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/target"
)

// hstsAtLeast is what browsers' own lists demand at the very least: half a year.
const hstsAtLeast = 180 * 24 * time.Hour

var tls12 = conformance.Check{
	ID: "TLS-12", Area: area, Level: conformance.Should, Manner: conformance.Reads,
	Assertion: "every pod sends Strict-Transport-Security, and the ingress controller is a release that is maintained",
	Source:    "HashiCorp production hardening, HTTP Strict Transport Security; ingress-nginx README, retirement in March 2026",
	Observe:   "the header of an answer of each pod; images of the ingress controller's pods",
}

var _ = conformance.It(tls12, conformance.Conformance, func(ctx ginkgo.SpecContext, r *conformance.Case) error {
	if err := offHere(r.Target, "a browser heeds Strict-Transport-Security over TLS alone"); err != nil {
		return err
	}
	pods, err := r.Target.Pods(ctx)
	if err != nil {
		return r.CannotTell(err)
	}
	if len(pods) == 0 {
		return errors.New("there is no Vault pod")
	}
	for _, pod := range pods {
		var got answer
		_, err := greet(ctx, toPod(r.Target, pod.Name, target.VaultPort), unverified(r.Target.ServerName), func(conn *tls.Conn) error {
			var err error
			got, err = ask(conn, "GET /v1/sys/health?standbyok=true HTTP/1.0\r\nHost: vault\r\n\r\n")
			return err
		})
		if err != nil {
			return r.CannotTell(fmt.Errorf("asking pod %s: %w", pod.Name, err))
		}
		if err := strict(pod.Name, got.header); err != nil {
			return err
		}
	}
	ways, err := waysTo(ctx, r)
	if err != nil {
		return r.CannotTell(err)
	}
	for _, d := range ways.Doors {
		if len(d.Pods) == 0 {
			return r.Inconclusive("the controller of %s is out of sight, so whether it is maintained is not known", d.Object)
		}
		for i := range d.Pods {
			known, err := maintained(&d.Pods[i])
			if err != nil {
				return fmt.Errorf("%s: %w", d.Object, err)
			}
			if !known {
				return r.Inconclusive("whether the ingress controller in pod %s/%s (%s) is maintained is not known here", d.Pods[i].Namespace, d.Pods[i].Name, imagesOf(&d.Pods[i]))
			}
		}
	}
	return nil
})

var maxAge = regexp.MustCompile(`(?i)max-age="?([0-9]+)"?`)

// strict judges the headers of an answer.
func strict(pod string, header http.Header) error {
	value := header.Get("Strict-Transport-Security")
	match := maxAge.FindStringSubmatch(value)
	if match == nil {
		return fmt.Errorf("pod %s answers with Strict-Transport-Security %q, want max-age of at least %d (custom_response_headers of the listener)", pod, value, int(hstsAtLeast.Seconds()))
	}
	seconds, err := strconv.ParseInt(match[1], 10, 64)
	if err != nil || seconds < int64(hstsAtLeast.Seconds()) {
		return fmt.Errorf("pod %s answers with Strict-Transport-Security %q, want max-age of at least %d: a browser forgets it too soon", pod, value, int(hstsAtLeast.Seconds()))
	}
	return nil
}

// release says of a controller's image from which version on it is maintained, as of the
// time that this was written.
type release struct {
	image *regexp.Regexp
	// since is the first major version with support; 0 means that none has any.
	since int
	why   string
}

var releases = []release{
	{regexp.MustCompile(`(^|/)ingress-nginx/controller$`), 0, "ingress-nginx was retired in March 2026 and gets no security fixes"},
	{regexp.MustCompile(`(^|/)traefik$`), 3, "Traefik 1 and 2 get no security fixes any more"},
	{regexp.MustCompile(`(^|/)nginx/nginx-ingress$`), 4, "older releases of F5's controller get no security fixes"},
	{regexp.MustCompile(`(^|/)envoyproxy/gateway$`), 1, ""},
	{regexp.MustCompile(`(^|/)envoyproxy/envoy$`), 1, ""},
	{regexp.MustCompile(`(^|/)haproxytech/kubernetes-ingress$`), 3, "older releases of HAProxy's controller get no security fixes"},
	{regexp.MustCompile(`(^|/)projectcontour/contour$`), 1, ""},
}

// imageForm splits a reference into its name and the version in its tag.
var imageForm = regexp.MustCompile(`^([^@]+?)(?::v?([0-9]+)[^@/]*)?(?:@.*)?$`)

// maintained judges the images of a controller's pod; known is false if none is listed.
func maintained(pod *corev1.Pod) (known bool, err error) {
	for _, c := range pod.Spec.Containers {
		parts := imageForm.FindStringSubmatch(c.Image)
		if parts == nil {
			continue
		}
		for _, r := range releases {
			if !r.image.MatchString(parts[1]) {
				continue
			}
			major, err := strconv.Atoi(parts[2])
			switch {
			case r.since == 0:
				return true, fmt.Errorf("pod %s/%s runs %s: %s; move to one that is maintained, such as Traefik's kubernetesIngressNGINX provider", pod.Namespace, pod.Name, c.Image, r.why)
			case err != nil:
				return false, nil // the tag tells no version
			case major < r.since:
				return true, fmt.Errorf("pod %s/%s runs %s: %s", pod.Namespace, pod.Name, c.Image, r.why)
			}
			known = true
		}
	}
	return known, nil
}

func imagesOf(pod *corev1.Pod) string {
	var images []string
	for _, c := range pod.Spec.Containers {
		images = append(images, c.Image)
	}
	slices.Sort(images)
	return strings.Join(images, ", ")
}
