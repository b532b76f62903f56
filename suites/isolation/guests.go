package isolation

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"

	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/probe"
	"github.com/vaultproof/vaultproof/pkg/target"
)

const (
	// elsewhere is a namespace that every cluster has and that has nothing to do
	// with Vault.
	elsewhere = metav1.NamespaceDefault
	// clientLabel and clientValue are how a client of the stack says that it is one.
	clientLabel = "vaultproof.dev/client"
	clientValue = "vault"
	// scraperLabel says the same of what collects metrics.
	scraperLabel = "vaultproof.dev/scraper"
	scraperValue = "true"
	// guestLabel tells the guests of a run apart.
	guestLabel = "vaultproof.dev/guest"

	// guestPatience is how long a guest may take, its start included: its image is on
	// the nodes already.
	guestPatience = 90 * time.Second
	// guestLog is how much of its log is read, in bytes: a line for each door.
	guestLog = 1 << 20
)

// guest is a pod of this run that tries doors.
type guest struct {
	role      string // part of its name
	who       string // for messages
	namespace string
	labels    map[string]string
	// outbound gives it a policy of its own that lets it connect to anywhere, so that
	// only the policies of whom it visits can stop it.
	outbound bool
	doors    []door
}

// party is the guests of one check.
type party struct {
	client  kubernetes.Interface
	cleanup func(func(context.Context) error)
	check   string // id in lower case
	run     string
}

func newParty(r *conformance.Case) *party {
	return &party{client: r.Target.Client, cleanup: r.Defer, check: strings.ToLower(r.Check.ID), run: r.ID}
}

// mayVisit skips the check if this user may not make guests.
func mayVisit(ctx context.Context, r *conformance.Case) error {
	ns := r.Target.Namespace
	missing, err := r.Target.Missing(ctx, []target.Permission{
		{Verb: "create", Resource: "pods", Namespace: elsewhere},
		{Verb: "delete", Resource: "pods", Namespace: elsewhere},
		{Verb: "get", Resource: "pods", Subresource: "log", Namespace: elsewhere},
		{Verb: "create", Resource: "pods", Namespace: ns},
		{Verb: "delete", Resource: "pods", Namespace: ns},
		{Verb: "get", Resource: "pods", Subresource: "log", Namespace: ns},
		{Verb: "create", Group: networkingv1.GroupName, Resource: "networkpolicies", Namespace: ns},
		{Verb: "list", Group: networkingv1.GroupName, Resource: "networkpolicies", Namespace: ns},
		{Verb: "list", Group: "policy", Resource: "poddisruptionbudgets", Namespace: ns},
	})
	if err != nil {
		return r.CannotTell(err)
	}
	if len(missing) == 0 {
		return nil
	}
	var words []string
	for _, p := range missing {
		words = append(words, p.String())
	}
	return r.Skip("what the network lets through is tried from pods of this run, and the user of the kubeconfig may not: %s", strings.Join(words, "; "))
}

// host starts a pod elsewhere that accepts connections, and returns its IP.
func (p *party) host(ctx context.Context, ports []int32) (string, error) {
	var listen []string
	for _, port := range ports {
		listen = append(listen, strconv.Itoa(int(port)))
	}
	pod := p.manifest(guest{role: "host", namespace: elsewhere}, "serve", "-tcp", strings.Join(listen, ","))
	p.seeOff(pod)
	if _, err := p.create(ctx, pod); err != nil {
		return "", err
	}
	seen, err := p.await(ctx, pod, func(now *corev1.Pod) bool { return now.Status.Phase == corev1.PodRunning && now.Status.PodIP != "" })
	if err != nil {
		return "", err
	}
	return seen.Status.PodIP, nil
}

// visit has all guests try their doors, at once.
func (p *party) visit(ctx context.Context, guests []guest) ([]found, error) {
	each := make([][]found, len(guests))
	group, ctx := errgroup.WithContext(ctx)
	for i, g := range guests {
		pod := p.manifest(g, g.args()...)
		p.seeOff(pod)
		group.Go(func() (err error) {
			each[i], err = p.one(ctx, g, pod)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	var all []found
	for _, f := range each {
		all = append(all, f...)
	}
	return all, nil
}

// args tell the prober what to try.
func (g guest) args() []string {
	args := []string{"matrix"}
	for _, d := range g.doors {
		args = append(args, d.want+"="+d.address)
	}
	return args
}

func (p *party) one(ctx context.Context, g guest, pod *corev1.Pod) ([]found, error) {
	made, err := p.create(ctx, pod)
	if err != nil {
		return nil, err
	}
	if g.outbound {
		if err := p.release(ctx, g.role, made); err != nil {
			return nil, err
		}
	}
	over, err := p.await(ctx, made, func(now *corev1.Pod) bool { return ended(now) })
	if err != nil {
		return nil, err
	}
	reports, err := p.reports(ctx, over)
	if err != nil {
		return nil, fmt.Errorf("pod %s/%s (image %s): %w", over.Namespace, over.Name, probe.DefaultImage, err)
	}
	all, err := match(g.doors, reports)
	if err != nil {
		return nil, fmt.Errorf("pod %s/%s: %w", over.Namespace, over.Name, err)
	}
	for i := range all {
		all[i].guest, all[i].on = g.who, over.Status.HostIP
	}
	return all, nil
}

// logLag is how much later than the end of a pod its log may be there: the kubelet tells
// of the one when the other is still on its way to the node's disk.
var logLag = 10 * time.Second

// reports reads what a guest that has ended found.
func (p *party) reports(ctx context.Context, pod *corev1.Pod) (reports []report, err error) {
	patient, cancel := context.WithTimeout(ctx, logLag)
	defer cancel()
	_ = wait.PollUntilContextCancel(patient, 250*time.Millisecond, true, func(context.Context) (bool, error) {
		var log string
		if log, err = p.log(ctx, pod); err == nil {
			reports, err = parseReports(log)
		}
		return err == nil, nil
	})
	return reports, err
}

func ended(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
}
