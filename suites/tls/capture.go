package tls

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/ingress"
	"github.com/vaultproof/vaultproof/pkg/probe"
	"github.com/vaultproof/vaultproof/pkg/target"
)

const (
	// captureNamespace and the id of the run name the namespace.
	captureNamespace = "vaultproof-capture-"
	// captureStart is how long the capturing pods may take to begin.
	captureStart = 60 * time.Second
	// captureSees is how long a packet may take from the wire into the counts.
	captureSees = 20 * time.Second
	// captureLife ends a capture that nobody ends, in seconds.
	captureLife = int64(180)

	// What is looked for: the name in a handshake, which is in clear, and the token.
	findHello, findToken = "hello", "token"
)

// captured is what "prober capture" prints.
type captured struct {
	Interface string         `json:"interface"`
	Packets   int64          `json:"packets"`
	Found     map[string]int `json:"found"`
}

// capture is a pod on the node of each Vault pod that watches the interface of that one.
// It takes the node's network and CAP_NET_RAW, which no pod of the stack has, so it is in a
// namespace of its own, which exists as long as the check.
type capture struct {
	target    *target.Target
	namespace string
	pods      map[string]string // Vault pod to capturing pod
}

// startCapture begins to watch every Vault pod.
func startCapture(ctx context.Context, r *conformance.Case, doors []ingress.Door, token string) (*capture, error) {
	c := &capture{target: r.Target, namespace: captureNamespace + r.ID, pods: map[string]string{}}
	vaults, err := r.Target.Pods(ctx)
	if err != nil {
		return nil, err
	}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: c.namespace, Labels: map[string]string{
		target.ManagedBy: target.ManagedByValue, target.RunLabel: r.ID, "pod-security.kubernetes.io/enforce": "privileged",
	}}}
	core := r.Target.Client.CoreV1()
	if _, err := core.Namespaces().Create(ctx, namespace, metav1.CreateOptions{}); err != nil {
		return nil, fmt.Errorf("creating namespace %s for the capture: %w", c.namespace, err)
	}
	r.Defer(c.remove)
	for i := range vaults {
		pod, err := core.Pods(c.namespace).Create(ctx, c.manifest(&vaults[i], doors, token), metav1.CreateOptions{})
		if err != nil {
			return nil, fmt.Errorf("creating the pod that captures at pod %s: %w", vaults[i].Name, err)
		}
		c.pods[vaults[i].Name] = pod.Name
	}
	return c, c.await(ctx, captureStart, "the capture did not begin", func(map[string]captured) error { return nil })
}

// manifest is the pod that watches one Vault pod.
func (c *capture) manifest(vault *corev1.Pod, doors []ingress.Door, token string) *corev1.Pod {
	yes, no, root, grace, life := true, false, int64(0), int64(0), captureLife
	args := []string{"capture", "-ip", vault.Status.PodIP, "-find", findToken + "=" + token}
	for i, name := range namesFor(doors) {
		args = append(args, "-find", fmt.Sprintf("%s%d=%s", findHello, i, name))
	}
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "at-" + vault.Name, Namespace: c.namespace, Labels: map[string]string{target.ManagedBy: target.ManagedByValue, target.RunLabel: strings.TrimPrefix(c.namespace, captureNamespace)}},
		Spec: corev1.PodSpec{
			NodeName: vault.Spec.NodeName, HostNetwork: true, RestartPolicy: corev1.RestartPolicyNever,
			Tolerations:                  []corev1.Toleration{{Operator: corev1.TolerationOpExists}},
			AutomountServiceAccountToken: &no, EnableServiceLinks: &no, TerminationGracePeriodSeconds: &grace, ActiveDeadlineSeconds: &life,
			SecurityContext: &corev1.PodSecurityContext{SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}},
			Containers: []corev1.Container{{
				Name: "capture", Image: probe.DefaultImage, ImagePullPolicy: corev1.PullIfNotPresent, Args: args,
				Resources: corev1.ResourceRequirements{Limits: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("128Mi")}},
				// A capability reaches a process that is not root only by way of its file.
				SecurityContext: &corev1.SecurityContext{
					RunAsUser: &root, AllowPrivilegeEscalation: &no, ReadOnlyRootFilesystem: &yes,
					Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}, Add: []corev1.Capability{"NET_RAW"}},
				},
			}},
		},
	}
}

// namesFor are the names that the doors are for, each once. A door without one is left to
// the check that demands it.
func namesFor(doors []ingress.Door) []string {
	var names []string
	for _, d := range doors {
		if name := d.Name(); name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// sees knocks at the doors until the captures have seen one more handshake for the name of
// each, through each of its entries: what passes is captured.
func (c *capture) sees(ctx context.Context, doors []ingress.Door) error {
	names := namesFor(doors)
	if len(names) == 0 {
		return errors.New("no door names a host, by which a handshake would be known in the capture")
	}
	before, err := c.counts(ctx)
	if err != nil {
		return err
	}
	if err := knock(ctx, doors); err != nil {
		return err
	}
	return c.await(ctx, captureSees, "the capture does not see what comes through the ingress", func(now map[string]captured) error {
		for i, name := range names {
			hello := fmt.Sprintf("%s%d", findHello, i)
			if seen, want := total(now, hello)-total(before, hello), knocks(doors, name); seen < want {
				return fmt.Errorf("of %d handshakes for %s %d were captured at the Vault pods", want, name, seen)
			}
		}
		return nil
	})
}

// knocks is how many handshakes for a name one round of knocking makes.
func knocks(doors []ingress.Door, name string) int {
	n := 0
	for _, d := range doors {
		if d.Name() == name {
			n += len(d.Entries)
		}
	}
	return n
}

func total(seen map[string]captured, name string) int {
	n := 0
	for _, c := range seen {
		n += c.Found[name]
	}
	return n
}

// await reads the counts until they are there and satisfy.
func (c *capture) await(ctx context.Context, within time.Duration, failed string, satisfied func(map[string]captured) error) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	missing := errors.New("nothing was read")
	err := wait.PollUntilContextCancel(ctx, 500*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		seen, err := c.counts(ctx)
		if err == nil {
			err = satisfied(seen)
		}
		if err != nil && ctx.Err() == nil {
			missing = err
		}
		return err == nil, nil
	})
	if err != nil {
		return fmt.Errorf("%s within %s: %w", failed, within, missing)
	}
	return nil
}

// counts are the last ones of every capture, by Vault pod.
func (c *capture) counts(ctx context.Context) (map[string]captured, error) {
	seen := map[string]captured{}
	for vault, pod := range c.pods {
		stream, err := c.target.Client.CoreV1().Pods(c.namespace).GetLogs(pod, &corev1.PodLogOptions{}).Stream(ctx)
		if err != nil {
			return nil, fmt.Errorf("reading what was captured at pod %s: %w", vault, err)
		}
		text, err := io.ReadAll(stream)
		stream.Close()
		if err != nil {
			return nil, fmt.Errorf("reading what was captured at pod %s: %w", vault, err)
		}
		last, err := lastCaptured(string(text))
		if err != nil {
			return nil, fmt.Errorf("at pod %s: %w", vault, err)
		}
		seen[vault] = last
	}
	return seen, nil
}

// lastCaptured reads the last counts in a log, which may have other lines.
func lastCaptured(log string) (captured, error) {
	var last *captured
	for line := range strings.Lines(log) {
		var c captured
		if json.Unmarshal([]byte(line), &c) == nil && c.Found != nil {
			last = &c
		}
	}
	if last == nil {
		return captured{}, fmt.Errorf("the capture has printed no counts: %q", strings.TrimSpace(log))
	}
	return *last, nil
}

// remove deletes the namespace with all it holds.
func (c *capture) remove(ctx context.Context) error {
	err := c.target.Client.CoreV1().Namespaces().Delete(ctx, c.namespace, metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("deleting namespace %s: %w", c.namespace, err)
	}
	return nil
}
