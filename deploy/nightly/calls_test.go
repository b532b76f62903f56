package nightly

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path/filepath"
	"strings"
	"testing"
)

// sourceOfRun are the packages whose code talks to the API server in a run of the
// profile resilience, relative to this directory.
var sourceOfRun = []string{
	"pkg/alert", "pkg/conformance", "pkg/fault", "pkg/kube", "pkg/probe", "pkg/target",
	"suites/trial", "suites/routing", "suites/resilience",
}

// groups are the API groups of the typed client by the name of their accessor.
var groups = map[string]string{
	"CoreV1": "", "AppsV1": "apps", "BatchV1": "batch", "PolicyV1": "policy", "NetworkingV1": "networking.k8s.io",
	"DiscoveryV1": "discovery.k8s.io", "RbacV1": "rbac.authorization.k8s.io", "CoordinationV1": "coordination.k8s.io",
	"AuthorizationV1": "authorization.k8s.io",
}

// verbs are those of RBAC by the method of the typed client; what stands behind a
// slash is a subresource.
var verbs = map[string]string{
	"Get": "get", "List": "list", "Watch": "watch", "Create": "create", "Update": "update", "Patch": "patch", "Delete": "delete",
	"DeleteCollection": "deletecollection", "GetLogs": "get/log", "CreateToken": "create/token", "Evict": "create/eviction", "EvictV1": "create/eviction",
}

// call is one kind of request, as RBAC knows it: "get apps statefulsets", with * at its
// end if it is made across namespaces.
type call string

func callTo(verb, group, resource string) call {
	if verb, sub, is := strings.Cut(verb, "/"); is {
		return callTo(verb, group, resource+"/"+sub)
	}
	return call(strings.Join(strings.Fields(verb+" "+group+" "+resource), " "))
}

// handle is a client of the typed API, narrowed down so far.
type handle struct {
	group, resource string
	everywhere      bool // of all namespaces
}

// reader collects the calls of one function.
type reader struct {
	known map[string]handle // by the name of the variable
	found map[call]string   // where
	files *token.FileSet
}

// handleOf follows an expression such as client.CoreV1().Pods(namespace).
func (r *reader) handleOf(e ast.Expr) (handle, bool) {
	switch e := e.(type) {
	case *ast.Ident:
		h, ok := r.known[e.Name]
		return h, ok
	case *ast.CallExpr:
		method, is := e.Fun.(*ast.SelectorExpr)
		if !is {
			return handle{}, false
		}
		if group, is := groups[method.Sel.Name]; is && len(e.Args) == 0 {
			return handle{group: group}, true
		}
		h, ok := r.handleOf(method.X)
		if !ok || h.resource != "" || len(e.Args) > 1 || method.Sel.Name == "RESTClient" {
			return handle{}, false
		}
		h.resource = strings.ToLower(method.Sel.Name)
		if len(e.Args) == 1 {
			literal, is := e.Args[0].(*ast.BasicLit)
			h.everywhere = is && literal.Value == `""`
		}
		return h, true
	}
	return handle{}, false
}

func (r *reader) visit(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.AssignStmt:
		for i, right := range n.Rhs {
			name, is := n.Lhs[min(i, len(n.Lhs)-1)].(*ast.Ident)
			if h, ok := r.handleOf(right); ok && is && len(n.Lhs) == len(n.Rhs) {
				r.known[name.Name] = h
			}
		}
	case *ast.CallExpr:
		method, is := n.Fun.(*ast.SelectorExpr)
		if !is {
			return true
		}
		if method.Sel.Name == "SubResource" && len(n.Args) == 1 { // a request put together by hand
			if name, is := n.Args[0].(*ast.BasicLit); is {
				r.note("create", handle{resource: "pods/" + strings.Trim(name.Value, `"`)}, n)
			}
			return true
		}
		if verb, is := verbs[method.Sel.Name]; is {
			if h, ok := r.handleOf(method.X); ok && h.resource != "" {
				r.note(verb, h, n)
			}
		}
	}
	return true
}

func (r *reader) note(verb string, h handle, n ast.Node) {
	if h.resource == "evictions" { // a client of its own, for a subresource of pods
		h.group, h.resource = "", "pods"
	}
	c := callTo(verb, h.group, h.resource)
	if h.everywhere {
		c += " *"
	}
	r.found[c] = r.files.Position(n.Pos()).String()
}

// calls reads the sources of a run and returns the calls in them, with a place of each.
func calls(t *testing.T, root string) map[call]string {
	t.Helper()
	found := map[call]string{}
	for _, dir := range sourceOfRun {
		err := filepath.WalkDir(filepath.Join(root, dir), func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			files := token.NewFileSet()
			file, err := parser.ParseFile(files, path, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			maps.Copy(found, callsIn(files, file))
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return found
}

// chaosVerbs are what a run does to each kind of object of Chaos Mesh that package fault
// knows, through a client that tells kinds apart only when it runs: fault.Env makes,
// looks at and deletes one, fault.Recover looks for those that were left anywhere.
var chaosVerbs = []string{"get", "create", "patch", "delete"}

// chaos notes the kinds that are named as in madeOf(v1alpha1.KindPodChaos).
func chaos(files *token.FileSet, found map[call]string) func(ast.Node) bool {
	return func(n ast.Node) bool {
		made, is := n.(*ast.CallExpr)
		if !is || len(made.Args) != 1 {
			return true
		}
		function, isName := made.Fun.(*ast.Ident)
		kind, isKind := made.Args[0].(*ast.SelectorExpr)
		if !isName || !isKind || function.Name != "madeOf" {
			return true
		}
		resource := strings.ToLower(strings.TrimPrefix(kind.Sel.Name, "Kind"))
		where := files.Position(n.Pos()).String()
		for _, verb := range chaosVerbs {
			found[callTo(verb, "chaos-mesh.org", resource)] = where
		}
		found[callTo("list", "chaos-mesh.org", resource)+" *"] = where
		return true
	}
}

func callsIn(files *token.FileSet, file *ast.File) map[call]string {
	found := map[call]string{}
	ast.Inspect(file, chaos(files, found))
	for _, d := range file.Decls {
		if function, is := d.(*ast.FuncDecl); is && function.Body != nil {
			r := &reader{known: map[string]handle{}, found: found, files: files}
			ast.Inspect(function.Body, r.visit)
		}
	}
	return found
}
