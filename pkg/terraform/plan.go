package terraform

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/hashicorp/terraform-exec/tfexec"
)

// documents are attributes that hold JSON: what differs in them is told by its own name.
var documents = []string{"data_json"}

// Change is what an apply would do to one resource.
type Change struct {
	// Address of the resource, such as vault_policy.app.
	Address string
	// Actions are create, update or delete; two of them replace the resource.
	Actions []string
	// Fields that would change, in order: never their values, which may be secret.
	Fields []string

	kind, path string // of the resource that would be there
}

// String tells it in words.
func (c Change) String() string {
	text := strings.Join(c.Actions, " and ") + " " + c.Address
	if len(c.Fields) > 0 && slices.Equal(c.Actions, []string{"update"}) {
		text += " (" + strings.Join(c.Fields, ", ") + ")"
	}
	return text
}

// Plan tells what an apply would change, looking at Vault as it is. Nothing means that it is
// as the module says.
func (w *Workspace) Plan(ctx context.Context) (changes []Change, err error) {
	err = w.run(ctx, "terraform plan", func(c command) error {
		changes, err = c.plan(ctx)
		return err
	})
	return changes, err
}

func (c command) plan(ctx context.Context) ([]Change, error) {
	differs, err := c.Plan(ctx, tfexec.Out(planFile))
	if err != nil || !differs {
		return nil, err
	}
	// The values that the tool hides in what it says are shown here.
	c.SetStdout(io.Discard)
	defer c.SetStdout(c.log)
	shown, err := c.ShowPlanFile(ctx, planFile)
	if err != nil {
		return nil, fmt.Errorf("reading the plan: %w", err)
	}
	var changes []Change
	for _, resource := range shown.ResourceChanges {
		if resource.Change == nil || resource.Change.Actions.NoOp() || resource.Change.Actions.Read() {
			continue
		}
		change := Change{Address: resource.Address, kind: resource.Type, Fields: differing(resource.Change.Before, resource.Change.After)}
		for _, action := range resource.Change.Actions {
			change.Actions = append(change.Actions, string(action))
		}
		if after, is := resource.Change.After.(map[string]any); is {
			change.path, _ = after["path"].(string)
		}
		changes = append(changes, change)
	}
	if len(changes) == 0 { // outputs alone differ
		changes = append(changes, Change{Address: "outputs", Actions: []string{"update"}, Fields: slices.Sorted(maps.Keys(shown.OutputChanges))})
	}
	return changes, nil
}

// differing names what is not the same before and after.
func differing(before, after any) []string {
	was, _ := before.(map[string]any)
	will, _ := after.(map[string]any)
	all := maps.Clone(will)
	if all == nil {
		all = map[string]any{}
	}
	maps.Copy(all, was)
	var fields []string
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if reflect.DeepEqual(was[name], will[name]) {
			continue
		}
		if slices.Contains(documents, name) {
			if inner := within(was[name], will[name]); len(inner) > 0 {
				fields = append(fields, inner...)
				continue
			}
		}
		fields = append(fields, name)
	}
	return fields
}

// within names what differs between two JSON documents; nothing if one is none.
func within(before, after any) []string {
	was, is := document(before)
	will, too := document(after)
	if !is || !too {
		return nil
	}
	return differing(was, will)
}

func document(text any) (fields map[string]any, is bool) {
	words, is := text.(string)
	return fields, is && json.Unmarshal([]byte(words), &fields) == nil
}
