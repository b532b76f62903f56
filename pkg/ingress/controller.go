package ingress

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/vaultproof/vaultproof/pkg/target"
)

// dialTimeout bounds a connection to a public address, and a handshake through a door.
const dialTimeout = 5 * time.Second

// controllers maps the label of a controller's pods to how it names itself in classes of
// ingresses and gateways.
var controllers = map[string][]string{
	"traefik":         {nginxController, "traefik.io/"},
	"ingress-nginx":   {nginxController},
	"nginx-ingress":   {"nginx.org/"},
	"haproxy-ingress": {"haproxy-ingress.github.io/", "haproxy.org/"},
	"contour":         {"projectcontour.io/"},
	"envoy":           {"projectcontour.io/", "gateway.envoyproxy.io/"},
}

// nginxController is the name of ingress-nginx, to which Traefik may answer in its place.
const nginxController = "k8s.io/ingress-nginx"

// findControllers finds the pods of the controllers. Where they may not be listed doors are
// looked through at their public addresses.
func (f *finder) findControllers(ctx context.Context) error {
	names := slices.Sorted(maps.Keys(controllers))
	pods, err := f.client.CoreV1().Pods("").List(ctx, metav1.ListOptions{
		LabelSelector: target.NameLabel + " in (" + strings.Join(names, ",") + ")",
		FieldSelector: "status.phase=Running",
	})
	if apierrors.IsForbidden(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("listing the pods of ingress controllers: %w", err)
	}
	f.pods = slices.DeleteFunc(pods.Items, func(p corev1.Pod) bool { return !target.PodReady(&p) })
	return nil
}

// serving are the pods of a controller. Traefik answers to the name of ingress-nginx only
// where that is not there itself.
func (f *finder) serving(controller string) []corev1.Pod {
	var pods []corev1.Pod
	original := false
	for _, pod := range f.pods {
		if serves(appOf(&pod), controller) {
			pods = append(pods, pod)
			original = original || appOf(&pod) == "ingress-nginx"
		}
	}
	if controller == nginxController && original {
		pods = slices.DeleteFunc(pods, func(p corev1.Pod) bool { return appOf(&p) != "ingress-nginx" })
	}
	return pods
}

func appOf(pod *corev1.Pod) string { return pod.Labels[target.NameLabel] }

func serves(app, controller string) bool {
	return slices.ContainsFunc(controllers[app], func(prefix string) bool { return strings.HasPrefix(controller, prefix) })
}

// way is how a door is reached.
type way struct {
	controller string
	// port that the door's object names; 0 if it names none.
	port int
	// addresses are public ones.
	addresses []string
}

// enter finds the door's entries: each pod of its controller, or, where those are out of
// sight, its public addresses.
func (f *finder) enter(d *Door, w way) {
	for _, pod := range f.serving(w.controller) {
		secure, plain := ports(&pod, w.port)
		if secure == 0 {
			continue
		}
		d.Pods = append(d.Pods, pod)
		at := &target.Target{Config: f.config, Client: f.client, Namespace: pod.Namespace}
		entry := Entry{
			Name:    "pod " + pod.Namespace + "/" + pod.Name,
			DialTLS: func(ctx context.Context) (net.Conn, error) { return at.DialPod(ctx, pod.Name, secure) },
		}
		if plain != 0 {
			entry.DialHTTP = func(ctx context.Context) (net.Conn, error) { return at.DialPod(ctx, pod.Name, plain) }
		}
		d.Entries = append(d.Entries, entry)
	}
	if len(d.Entries) > 0 {
		return
	}
	for _, address := range w.addresses {
		d.Entries = append(d.Entries, publicEntry(address, w.port))
	}
}

// Told is a door that somebody knows of: a public name, and the address (host or host:port)
// that serves it.
func Told(host, address string) Door {
	port := 0
	if name, number, err := net.SplitHostPort(address); err == nil {
		if n, err := strconv.Atoi(number); err == nil {
			address, port = name, n
		}
	}
	return Door{Object: "ingress of the target file", Host: host, Passthrough: true, Entries: []Entry{publicEntry(address, port)}}
}

// publicEntry is an address that is dialled from here; a port of 0 means the usual one.
func publicEntry(address string, secure int) Entry {
	dial := func(port int) func(context.Context) (net.Conn, error) {
		return func(ctx context.Context) (net.Conn, error) {
			return (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, "tcp", net.JoinHostPort(address, strconv.Itoa(port)))
		}
	}
	return Entry{Name: "address " + address, DialTLS: dial(cmp.Or(secure, 443)), DialHTTP: dial(80)}
}

// ports are those of a controller's pod for HTTPS and for HTTP; 0 if it names none. Where
// the pod has the very port that the door's object names, that is the one for HTTPS.
func ports(pod *corev1.Pod, wanted int) (secure, plain int) {
	named := false
	for _, c := range pod.Spec.Containers {
		for _, p := range c.Ports {
			switch p.Name {
			case "websecure", "https", "https-port":
				secure = int(p.ContainerPort)
			case "web", "http", "http-port":
				plain = int(p.ContainerPort)
			}
			named = named || wanted != 0 && int(p.ContainerPort) == wanted
		}
	}
	if named {
		secure = wanted
	}
	return secure, plain
}
