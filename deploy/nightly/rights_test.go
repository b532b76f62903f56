package nightly

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
)

const root = "../.."

// elsewhere are calls in the code of a run that this runner does without, and why.
var elsewhere = map[call]string{
	"get secrets":                    "a CA that is only in a Secret is told by a target file",
	"create namespaces":              "the manifest has the namespace",
	"delete namespaces":              "a run of this profile makes none",
	"create serviceaccounts":         "the manifest has the account",
	"get coordination.k8s.io leases": "only where nodes are turned off, which takes the machine of a kind cluster",
	"create batch jobs":              "a fleet of probers is for those who use the library",
	"delete batch jobs":              "likewise",
	"create authorization.k8s.io selfsubjectaccessreviews": "everybody may (system:basic-user)",
}

// unseen are grants whose calls do not stand in the code as such, and where they are made.
var unseen = map[call]string{
	"watch pods":                            "the informer of probe.Watch",
	"watch discovery.k8s.io endpointslices": "likewise",
	"get pods/exec":                         "kube.Command, by WebSocket",
	"get pods/portforward":                  "port-forwarding by WebSocket",
	"get pods *":                            "the drain library, whatever namespace a pod of the node is in",
	"create pods/eviction *":                "likewise",
	"get apps daemonsets *":                 "likewise",
}

// grants are what the roles of the manifest allow; with * what they allow across
// namespaces.
func grants(all objects) map[call]bool {
	granted := map[call]bool{}
	add := func(rules []rbacv1.PolicyRule, mark string) {
		for _, rule := range rules {
			for _, group := range rule.APIGroups {
				for _, resource := range rule.Resources {
					for _, verb := range rule.Verbs {
						granted[callTo(verb, group, resource)+call(mark)] = true
					}
				}
			}
		}
	}
	for _, object := range all {
		switch role := object.(type) {
		case *rbacv1.ClusterRole:
			add(role.Rules, " *")
		case *rbacv1.Role:
			add(role.Rules, "")
		}
	}
	return granted
}

// clusterScoped are resources without a namespace: a call to them is one across all.
var clusterScoped = []string{"nodes", "namespaces", "authorization.k8s.io subjectaccessreviews"}

func scoped(c call) call {
	verb, resource, _ := strings.Cut(string(c), " ")
	if slices.Contains(clusterScoped, resource) && (verb != "get" || resource == "nodes") {
		return c + " *"
	}
	return c
}

// asked are the permissions that a run asks for before it begins: the literals in
// pkg/target/access.go.
func asked(t *testing.T) []call {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, "pkg/target/access.go"), nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	var all []call
	ast.Inspect(file, func(n ast.Node) bool {
		literal, is := n.(*ast.CompositeLit)
		if !is {
			return true
		}
		fields := map[string]string{}
		for _, e := range literal.Elts {
			pair, is := e.(*ast.KeyValueExpr)
			if !is {
				return true
			}
			fields[fmt.Sprint(pair.Key)] = "set"
			if value, is := pair.Value.(*ast.BasicLit); is {
				fields[fmt.Sprint(pair.Key)] = strings.Trim(value.Value, `"`)
			}
		}
		if fields["Verb"] == "" || fields["Verb"] == "set" {
			return true
		}
		resource := fields["Resource"]
		if fields["Subresource"] != "" {
			resource += "/" + fields["Subresource"]
		}
		c := callTo(fields["Verb"], fields["Group"], resource)
		if fields["Namespace"] == "" {
			c += " *"
		}
		all = append(all, c)
		return true
	})
	return all
}

// gaps compares what is granted with what is called.
func gaps(granted map[call]bool, called map[call]string, beforehand []call) (missing, needless []string) {
	wanted := map[call]bool{}
	for c, where := range called {
		if _, without := elsewhere[c]; without {
			continue
		}
		wanted[scoped(c)] = true
		if !granted[scoped(c)] {
			missing = append(missing, fmt.Sprintf("%s, for %s", c, where))
		}
	}
	for _, c := range beforehand {
		wanted[c] = true
		if !granted[c] {
			missing = append(missing, string(c)+", which a run asks for before it begins")
		}
	}
	for c := range granted {
		if _, known := unseen[c]; !wanted[c] && !known {
			needless = append(needless, string(c))
		}
	}
	slices.Sort(missing)
	slices.Sort(needless)
	return missing, needless
}

// TestRightsAreThoseOfTheCode: no more and no less than the code of a run calls.
func TestRightsAreThoseOfTheCode(t *testing.T) {
	granted, called, beforehand := grants(rendered(t, "base")), calls(t, root), asked(t)
	if len(called) < 20 || len(beforehand) < 10 {
		t.Fatalf("only %d calls and %d permissions were found in the code: is it read as it should be?", len(called), len(beforehand))
	}
	missing, needless := gaps(granted, called, beforehand)
	for _, m := range missing {
		t.Errorf("base/rbac.yaml does not grant: %s", m)
	}
	for _, n := range needless {
		t.Errorf("base/rbac.yaml grants what nothing needs: %s", n)
	}
	for c := range maps.Keys(elsewhere) {
		if granted[c] || granted[scoped(c)] && scoped(c) != c {
			t.Errorf("%s is granted, though: %s", c, elsewhere[c])
		}
	}
}

func TestGapsAreSeen(t *testing.T) {
	source := `package p
func f() {
	pods := client.CoreV1().Pods("")
	pods.List(ctx, o)
	env.Client.PolicyV1().Evictions(ns).Evict(ctx, e)
	if _, err := c.AppsV1().StatefulSets(ns).Get(ctx, "vault", o); err != nil {}
	c.CoreV1().RESTClient().Post().Resource("pods").SubResource("exec")
	journal.Get(ctx)
}
var _ = madeOf(v1alpha1.KindTimeChaos)`
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, "p.go", source, 0)
	if err != nil {
		t.Fatal(err)
	}
	called := callsIn(files, file)
	want := []call{"create chaos-mesh.org timechaos", "create pods/eviction", "create pods/exec", "delete chaos-mesh.org timechaos",
		"get apps statefulsets", "get chaos-mesh.org timechaos", "list chaos-mesh.org timechaos *", "list pods *", "patch chaos-mesh.org timechaos"}
	if got := slices.Sorted(maps.Keys(called)); !slices.Equal(got, want) {
		t.Fatalf("calls %q, want %q", got, want)
	}
	maps.DeleteFunc(called, func(c call, _ string) bool { return strings.Contains(string(c), "timechaos") })
	granted := map[call]bool{"list pods": true, "get apps statefulsets": true, "create pods/exec": true, "delete nodes *": true, "create pods/eviction": true}
	missing, needless := gaps(granted, called, []call{"get pods/log"})
	if len(missing) != 2 || !strings.HasPrefix(missing[1], "list pods *, for p.go:4") || !strings.HasPrefix(missing[0], "get pods/log") {
		t.Errorf("missing %q, want listing pods everywhere, and their logs", missing)
	}
	if !slices.Equal(needless, []string{"delete nodes *", "list pods"}) {
		t.Errorf("needless %q", needless)
	}
}
