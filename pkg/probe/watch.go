package probe

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"github.com/vaultproof/vaultproof/pkg/timeline"
)

// labelActive is the label that Vault's service registration keeps.
const labelActive = "vault-active"

// WatchOptions say what to watch.
type WatchOptions struct {
	// Namespace is Vault's, Selector the label selector of its pods.
	Namespace string
	Selector  string
	// Services are those whose endpoints are followed.
	Services []string
	// Log receives the changes. It is required.
	Log *timeline.Log
	// OnPods, if set, is told the IPs by pod name when they change, and once
	// at the start; Prober.SetPods fits. It must not block for long.
	OnPods func(map[string]string)
}

// Watcher follows what Kubernetes says of Vault: the vault-active label of
// each pod, and the ready endpoints of each Service. Changes bear the time at
// which they reached this process; while the API server is away they are late.
type Watcher struct {
	opts WatchOptions
	stop context.CancelFunc
	done []func() // wait for an informer factory to end

	mu        sync.Mutex
	pods      map[string]*corev1.Pod
	slices    map[string]*discoveryv1.EndpointSlice
	labels    map[string]string // as last reported
	endpoints map[string]string
	ips       map[string]string
}

// Watch starts following and returns when it knows the present state, which it
// reports as a change from nothing. ctx bounds that wait alone; the watch ends
// with Stop.
func Watch(ctx context.Context, client kubernetes.Interface, opts WatchOptions) (*Watcher, error) {
	if opts.Log == nil || opts.Namespace == "" || opts.Selector == "" {
		return nil, fmt.Errorf("watching Vault: namespace %q, selector %q and the timeline must be given", opts.Namespace, opts.Selector)
	}
	lasting, stop := context.WithCancel(context.WithoutCancel(ctx))
	w := &Watcher{
		opts: opts, stop: stop,
		pods: map[string]*corev1.Pod{}, slices: map[string]*discoveryv1.EndpointSlice{},
		labels: map[string]string{}, endpoints: map[string]string{},
	}
	factory := func(selector string) informers.SharedInformerFactory {
		f := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithNamespace(opts.Namespace),
			informers.WithTweakListOptions(func(o *metav1.ListOptions) { o.LabelSelector = selector }))
		w.done = append(w.done, f.Shutdown)
		return f
	}
	pods := factory(opts.Selector)
	informer := pods.Core().V1().Pods().Informer()
	registration, err := informer.AddEventHandler(handler(w.setPod, w.removePod))
	if err != nil {
		stop()
		return nil, fmt.Errorf("watching the pods of Vault: %w", err)
	}
	synced := []cache.InformerSynced{registration.HasSynced}
	started := []informers.SharedInformerFactory{pods}
	if len(opts.Services) > 0 {
		endpoints := factory(discoveryv1.LabelServiceName + " in (" + strings.Join(opts.Services, ",") + ")")
		registration, err := endpoints.Discovery().V1().EndpointSlices().Informer().
			AddEventHandler(handler(w.setSlice, w.removeSlice))
		if err != nil {
			stop()
			return nil, fmt.Errorf("watching the endpoints of Vault: %w", err)
		}
		synced = append(synced, registration.HasSynced)
		started = append(started, endpoints)
	}
	for _, f := range started {
		f.Start(lasting.Done())
	}
	if !cache.WaitForCacheSync(ctx.Done(), synced...) {
		w.Stop()
		return nil, fmt.Errorf("watching Vault in namespace %s: the API server did not list its pods and endpoints in time: %w", opts.Namespace, context.Cause(ctx))
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	// A Service that has no slice has no endpoints; say so from the start.
	w.reportEndpoints(time.Now())
	return w, nil
}

// Stop ends the watch and waits for it.
func (w *Watcher) Stop() {
	w.stop()
	for _, wait := range w.done {
		wait()
	}
}

// IPs are the IPs of the pods that have one, by name.
func (w *Watcher) IPs() map[string]string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return maps.Clone(w.ips)
}

// handler makes an event handler of two functions.
func handler[T any](set, remove func(T)) cache.ResourceEventHandlerFuncs {
	call := func(f func(T), object any) {
		if gone, ok := object.(cache.DeletedFinalStateUnknown); ok {
			object = gone.Obj
		}
		if typed, ok := object.(T); ok {
			f(typed)
		}
	}
	return cache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { call(set, o) },
		UpdateFunc: func(_, o any) { call(set, o) },
		DeleteFunc: func(o any) { call(remove, o) },
	}
}

func (w *Watcher) setPod(pod *corev1.Pod) {
	now := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pods[pod.Name] = pod
	value, present := pod.Labels[labelActive]
	if !present {
		value = "absent"
	}
	w.reportLabel(now, pod.Name, value)
	w.reportIPs()
}

func (w *Watcher) removePod(pod *corev1.Pod) {
	now := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.pods, pod.Name)
	w.reportLabel(now, pod.Name, "gone")
	w.reportIPs()
}

func (w *Watcher) reportLabel(now time.Time, pod, value string) {
	if w.labels[pod] == value {
		return
	}
	w.labels[pod] = value
	w.opts.Log.Append(timeline.Event{At: now, Kind: timeline.Label, Subject: pod, Value: value})
}

func (w *Watcher) reportIPs() {
	ips := map[string]string{}
	for name, pod := range w.pods {
		over := pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
		if pod.Status.PodIP != "" && !over {
			ips[name] = pod.Status.PodIP
		}
	}
	if w.ips != nil && maps.Equal(w.ips, ips) {
		return
	}
	w.ips = ips
	if w.opts.OnPods != nil {
		w.opts.OnPods(maps.Clone(ips))
	}
}

func (w *Watcher) setSlice(slice *discoveryv1.EndpointSlice) {
	now := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.slices[slice.Name] = slice
	w.reportEndpoints(now)
}

func (w *Watcher) removeSlice(slice *discoveryv1.EndpointSlice) {
	now := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.slices, slice.Name)
	w.reportEndpoints(now)
}

func (w *Watcher) reportEndpoints(now time.Time) {
	for _, service := range w.opts.Services {
		value := strings.Join(w.ready(service), ",")
		if old, known := w.endpoints[service]; known && old == value {
			continue
		}
		w.endpoints[service] = value
		w.opts.Log.Append(timeline.Event{At: now, Kind: timeline.Endpoints, Subject: service, Value: value})
	}
}

// ready names the pods behind the ready endpoints of a Service; an endpoint
// without a pod is named by its address.
func (w *Watcher) ready(service string) []string {
	names := []string{}
	for _, slice := range w.slices {
		if slice.Labels[discoveryv1.LabelServiceName] != service {
			continue
		}
		for _, endpoint := range slice.Endpoints {
			// Nil means ready, by the API's rules.
			if endpoint.Conditions.Ready != nil && !*endpoint.Conditions.Ready {
				continue
			}
			if endpoint.TargetRef != nil && endpoint.TargetRef.Kind == "Pod" {
				names = append(names, endpoint.TargetRef.Name)
				continue
			}
			names = append(names, endpoint.Addresses...)
		}
	}
	slices.Sort(names)
	return slices.Compact(names) // a dual-stack pod is in two slices
}
