package tenancy

import "cmp"

// DefaultAudience is that of API servers set up by kubeadm, kind among them.
const DefaultAudience = "https://kubernetes.default.svc.cluster.local"

// Prefix begins all names of a tenant in Vault, and the name of its namespace. The
// provisioner policy allows no others.
const Prefix = "tenant-"

// Tenant is what one tenant is called on both sides: in Vault, and in its cluster.
type Tenant struct {
	// Name is short: "a".
	Name string
	// Mount is the path of its auth method, without "auth/" and without slashes around.
	Mount string
	// KV, Transit and Database are the paths of its secrets engines.
	KV, Transit, Database string
	// Role is that of its workload, in the auth method and in the database engine (whose
	// roles the provisioner may only write by such names), and Policy what it gives.
	Role, Policy string
	// Audience is what tokens of the tenant's service accounts must be made for.
	Audience string
	// Namespace and ServiceAccount are those of its workload, in the tenant cluster.
	Namespace, ServiceAccount string
}

// NewTenant gives the conventional names of a tenant, with DefaultAudience. A real cluster
// may have another: see Cluster.Tenant.
func NewTenant(name string) Tenant {
	all := Prefix + name
	return Tenant{
		Name: name, Mount: all,
		KV: all + "-kv", Transit: all + "-transit", Database: "tenant-database/" + name,
		Role: all + "-app", Policy: all + "-app", Audience: DefaultAudience,
		Namespace: all, ServiceAccount: "app",
	}
}

// Tenant gives the names of a tenant whose workload runs in this cluster.
//
// In the review mode of the stack the token that a client logs in with also asks the API
// server to review it. So it must be made for the API server itself: a token for any other
// audience could not ask.
func (c *Cluster) Tenant(name string) Tenant {
	tenant := NewTenant(name)
	tenant.Audience = cmp.Or(c.Audience, tenant.Audience)
	return tenant
}
