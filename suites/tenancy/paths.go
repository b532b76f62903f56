package tenancy

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/hcl"
	"github.com/hashicorp/hcl/hcl/ast"
)

// pathsOf are the paths that a policy of Vault grants something on, in its order. What is
// denied is left out.
func pathsOf(policy string) ([]string, error) {
	root, err := hcl.Parse(policy)
	if err != nil {
		return nil, fmt.Errorf("parsing a policy: %w", err)
	}
	list, ok := root.Node.(*ast.ObjectList)
	if !ok {
		return nil, errors.New("parsing a policy: it has no paths")
	}
	var paths []string
	for _, item := range list.Filter("path").Items {
		if len(item.Keys) == 0 {
			return nil, errors.New("parsing a policy: a path has no name")
		}
		var said rule
		path, _ := item.Keys[0].Token.Value().(string)
		if err := hcl.DecodeObject(&said, item.Val); err != nil {
			return nil, fmt.Errorf("parsing what a policy says of path %s: %w", path, err)
		}
		if !slices.Contains(said.Capabilities, "deny") && said.Policy != "deny" {
			paths = append(paths, said.reach(strings.TrimPrefix(path, "/"))...)
		}
	}
	return paths, nil
}

// rule is what a policy says of a path.
type rule struct {
	Capabilities []string         `hcl:"capabilities"`
	Policy       string           `hcl:"policy"`
	Parameters   map[string][]any `hcl:"allowed_parameters"`
}

// ofLeases are the paths at which leases are dealt with by their ids, whoever has them.
var ofLeases = []string{"sys/leases/renew", "sys/leases/revoke", "sys/leases/lookup"}

// reach is what a rule is for, with a path for each kind of lease that it takes, or one for
// all.
func (u rule) reach(path string) []string {
	if !slices.Contains(ofLeases, path) {
		return []string{path}
	}
	ids := u.Parameters["lease_id"]
	if len(ids) == 0 {
		return []string{path + "/*"}
	}
	var paths []string
	for _, id := range ids {
		paths = append(paths, fmt.Sprintf("%s/%v", path, id))
	}
	return paths
}

// self are the paths by which a token deals with itself, whoever bears it.
var self = []string{
	"auth/token/lookup-self", "auth/token/renew-self", "auth/token/revoke-self", "sys/capabilities-self",
	"sys/wrapping/wrap", "sys/wrapping/lookup", "sys/wrapping/unwrap",
}

// shared are the pairs of paths, one of each policy, that some request falls under both of.
func shared(a, b []string) []string {
	var pairs []string
	for _, one := range a {
		for _, other := range b {
			if slices.Contains(self, one) && one == other || !overlap(one, other) {
				continue
			}
			pairs = append(pairs, one+" and "+other)
		}
	}
	return pairs
}

// overlap tells whether there is a request that both paths of policies are for. In such a path
// + stands for one segment, and * at its end for anything. What identity fills in ({{…}}) may
// be anything within its segment.
func overlap(a, b string) bool {
	one, openOne := strings.CutSuffix(a, "*")
	other, openOther := strings.CutSuffix(b, "*")
	return meet(strings.Split(one, "/"), strings.Split(other, "/"), openOne, openOther)
}

// meet compares segment by segment. The last one of an open path may go on in any way.
func meet(a, b []string, openA, openB bool) bool {
	lastA, lastB := len(a) == 1, len(b) == 1
	switch {
	case lastA && openA && lastB && openB:
		return wild(a[0]) || wild(b[0]) || strings.HasPrefix(a[0], b[0]) || strings.HasPrefix(b[0], a[0])
	case lastA && openA:
		return wild(a[0]) || wild(b[0]) || strings.HasPrefix(b[0], a[0])
	case lastB && openB:
		return wild(a[0]) || wild(b[0]) || strings.HasPrefix(a[0], b[0])
	case !wild(a[0]) && !wild(b[0]) && a[0] != b[0]:
		return false
	case lastA || lastB:
		return lastA && lastB
	}
	return meet(a[1:], b[1:], openA, openB)
}

// wild tells whether a segment may be anything.
func wild(segment string) bool { return segment == "+" || strings.Contains(segment, "{{") }
