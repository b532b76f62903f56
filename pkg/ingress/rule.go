package ingress

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// PassthroughAnnotation asks ingress-nginx, and Traefik in its place, to leave TLS alone.
const PassthroughAnnotation = "nginx.ingress.kubernetes.io/ssl-passthrough"

// ingresses are the doors that rules of Ingress objects make.
func (f *finder) ingresses(ctx context.Context) ([]Door, error) {
	list, err := f.client.NetworkingV1().Ingresses("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("listing Ingresses: %w", err)
	}
	classes, err := f.classes(ctx)
	if err != nil {
		return nil, err
	}
	var doors []Door
	for i := range list.Items {
		ing := &list.Items[i]
		var addresses []string
		for _, lb := range ing.Status.LoadBalancer.Ingress {
			addresses = append(addresses, cmp.Or(lb.IP, lb.Hostname))
		}
		for _, host := range f.hosts(ing) {
			d := Door{
				Object: "Ingress " + ing.Namespace + "/" + ing.Name, Namespace: ing.Namespace, Host: host,
				Passthrough: ing.Annotations[PassthroughAnnotation] == "true",
			}
			for _, t := range ing.Spec.TLS {
				if t.SecretName != "" && (len(t.Hosts) == 0 || slices.Contains(t.Hosts, host)) {
					d.Secrets = append(d.Secrets, ing.Namespace+"/"+t.SecretName)
				}
			}
			f.enter(&d, way{controller: classes[classOf(ing)], addresses: addresses})
			doors = append(doors, d)
		}
	}
	return doors, nil
}

// hosts are those of an Ingress's rules that lead to Vault.
func (f *finder) hosts(ing *networkingv1.Ingress) []string {
	backs := func(b *networkingv1.IngressBackend) bool {
		return b != nil && b.Service != nil && f.leadsToVault(ing.Namespace, b.Service.Name)
	}
	var hosts []string
	for _, rule := range ing.Spec.Rules {
		leads := rule.HTTP == nil && backs(ing.Spec.DefaultBackend)
		if rule.HTTP != nil {
			for _, p := range rule.HTTP.Paths {
				leads = leads || backs(&p.Backend)
			}
		}
		if leads && !slices.Contains(hosts, rule.Host) {
			hosts = append(hosts, rule.Host)
		}
	}
	if len(ing.Spec.Rules) == 0 && backs(ing.Spec.DefaultBackend) {
		hosts = append(hosts, "")
	}
	return hosts
}

// classes maps the names of ingress classes to their controllers; the default class is
// known by no name too. Where they may not be listed, a class is taken for what it is
// usually called.
func (f *finder) classes(ctx context.Context) (map[string]string, error) {
	list, err := f.client.NetworkingV1().IngressClasses().List(ctx, metav1.ListOptions{})
	if apierrors.IsForbidden(err) {
		return map[string]string{"nginx": "k8s.io/ingress-nginx", "traefik": "traefik.io/ingress-controller"}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("listing ingress classes: %w", err)
	}
	classes := map[string]string{}
	for _, c := range list.Items {
		classes[c.Name] = c.Spec.Controller
		if c.Annotations[networkingv1.AnnotationIsDefaultIngressClass] == "true" {
			classes[""] = c.Spec.Controller
		}
	}
	return classes, nil
}

func classOf(ing *networkingv1.Ingress) string {
	if ing.Spec.IngressClassName != nil {
		return *ing.Spec.IngressClassName
	}
	return ing.Annotations["kubernetes.io/ingress.class"]
}
