package ingress

import (
	"context"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

const gatewayGroup = "gateway.networking.k8s.io"

// routeVersions of TLSRoute, the best first: it was in alpha for years.
var routeVersions = []string{"v1", "v1alpha3", "v1alpha2"}

// routes are the doors that TLSRoutes make. In a cluster that does not know these, the
// error is the API's NotFound.
func (f *finder) routes(ctx context.Context) ([]Door, error) {
	list, err := f.listRoutes(ctx)
	if err != nil {
		return nil, err
	}
	var doors []Door
	for i := range list.Items {
		more, err := f.route(ctx, &list.Items[i])
		if err != nil {
			return nil, err
		}
		doors = append(doors, more...)
	}
	return doors, nil
}

func (f *finder) listRoutes(ctx context.Context) (list *unstructured.UnstructuredList, err error) {
	for _, version := range routeVersions {
		list, err = f.dynamic.Resource(schema.GroupVersionResource{Group: gatewayGroup, Version: version, Resource: "tlsroutes"}).List(ctx, metav1.ListOptions{})
		if err == nil {
			return list, nil
		}
		if !apierrors.IsNotFound(err) {
			return nil, fmt.Errorf("listing TLSRoutes: %w", err)
		}
	}
	return nil, fmt.Errorf("the cluster does not know them (%s): %w", gatewayGroup, err)
}

// listener is one of a gateway to which a route is attached.
type listener struct {
	host        string
	passthrough bool
	secrets     []string
	way         way
}

// route is a door for each listener of one TLSRoute, and each name there, that leads to
// Vault.
func (f *finder) route(ctx context.Context, route *unstructured.Unstructured) ([]Door, error) {
	if !f.routesToVault(route) {
		return nil, nil
	}
	names, _, _ := unstructured.NestedStringSlice(route.Object, "spec", "hostnames")
	var doors []Door
	for _, parent := range items(route.Object, "spec", "parentRefs") {
		listeners, err := f.listeners(ctx, parent, route.GetNamespace())
		if err != nil {
			return nil, err
		}
		for _, l := range listeners {
			hosts := names
			if len(hosts) == 0 {
				hosts = []string{l.host}
			}
			for _, host := range hosts {
				d := Door{
					Object: "TLSRoute " + route.GetNamespace() + "/" + route.GetName(), Namespace: route.GetNamespace(),
					Host: host, Passthrough: l.passthrough, Secrets: l.secrets,
				}
				f.enter(&d, l.way)
				doors = append(doors, d)
			}
		}
	}
	return doors, nil
}

func (f *finder) routesToVault(route *unstructured.Unstructured) bool {
	for _, rule := range items(route.Object, "spec", "rules") {
		for _, ref := range items(rule, "backendRefs") {
			if f.leadsToVault(orDefault(ref, "namespace", route.GetNamespace()), orDefault(ref, "name", "")) {
				return true
			}
		}
	}
	return false
}

// listeners are those of a parent of a route that speak TLS. A parent that is no Gateway,
// or is not there, has none.
func (f *finder) listeners(ctx context.Context, parent map[string]any, namespace string) ([]listener, error) {
	if orDefault(parent, "kind", "Gateway") != "Gateway" {
		return nil, nil
	}
	namespace = orDefault(parent, "namespace", namespace)
	gateway, err := f.dynamic.Resource(gatewayResource("gateways")).Namespace(namespace).Get(ctx, orDefault(parent, "name", ""), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading a Gateway in namespace %s: %w", namespace, err)
	}
	w, err := f.gatewayWay(ctx, gateway)
	if err != nil {
		return nil, err
	}
	var all []listener
	for _, entry := range items(gateway.Object, "spec", "listeners") {
		if !attached(parent, entry) {
			continue
		}
		tls, _ := entry["tls"].(map[string]any)
		l := listener{host: orDefault(entry, "hostname", ""), passthrough: tls["mode"] == "Passthrough", way: w}
		l.way.port = number(entry["port"])
		for _, ref := range items(tls, "certificateRefs") {
			l.secrets = append(l.secrets, orDefault(ref, "namespace", namespace)+"/"+orDefault(ref, "name", ""))
		}
		all = append(all, l)
	}
	return all, nil
}

// attached tells whether a reference to a gateway means a listener of it, which must speak
// TLS for that.
func attached(parent, listener map[string]any) bool {
	section, port := orDefault(parent, "sectionName", ""), number(parent["port"])
	return orDefault(listener, "protocol", "") == "TLS" &&
		(section == "" || section == orDefault(listener, "name", "")) &&
		(port == 0 || port == number(listener["port"]))
}

// gatewayWay is how a gateway is reached; not at all if its class is not there.
func (f *finder) gatewayWay(ctx context.Context, gateway *unstructured.Unstructured) (way, error) {
	className, _, _ := unstructured.NestedString(gateway.Object, "spec", "gatewayClassName")
	class, err := f.dynamic.Resource(gatewayResource("gatewayclasses")).Get(ctx, className, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return way{}, nil
	}
	if err != nil {
		return way{}, fmt.Errorf("reading GatewayClass %s of Gateway %s/%s: %w", className, gateway.GetNamespace(), gateway.GetName(), err)
	}
	var w way
	w.controller, _, _ = unstructured.NestedString(class.Object, "spec", "controllerName")
	for _, address := range items(gateway.Object, "status", "addresses") {
		if value := orDefault(address, "value", ""); value != "" && !slices.Contains(w.addresses, value) {
			w.addresses = append(w.addresses, value)
		}
	}
	return w, nil
}

func gatewayResource(kind string) schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: gatewayGroup, Version: "v1", Resource: kind}
}

// items are the objects in a list; what is none is left out.
func items(object map[string]any, path ...string) []map[string]any {
	list, _, _ := unstructured.NestedFieldNoCopy(object, path...)
	all, _ := list.([]any)
	var maps []map[string]any
	for _, item := range all {
		if m, ok := item.(map[string]any); ok {
			maps = append(maps, m)
		}
	}
	return maps
}

func orDefault(object map[string]any, key, otherwise string) string {
	if value, ok := object[key].(string); ok && value != "" {
		return value
	}
	return otherwise
}

// number reads a number as JSON decoders give it; 0 for what is none.
func number(value any) int {
	switch n := value.(type) {
	case int64:
		return int(n)
	case float64:
		return int(n)
	}
	return 0
}
