package target

import (
	"log/slog"
	"maps"
	"slices"
	"strings"
)

// seen is what was found of a Vault, and why the rest was not, by what it is.
type seen struct{ facts, reasons map[string]string }

func (t *Target) found(what, value string) {
	if t.seen.facts == nil {
		t.seen.facts = map[string]string{}
	}
	t.seen.facts[what] = value
}

func (t *Target) unseen(what, reason string) {
	if t.seen.reasons == nil {
		t.seen.reasons = map[string]string{}
	}
	t.seen.reasons[what] = reason
}

// Found tells what was found of this Vault, for the report: what it is, and where.
func (t *Target) Found() map[string]string {
	facts := map[string]string{
		"namespace": t.Namespace, "statefulSet": t.StatefulSet, "pods": t.Selector.String(),
		"service of the active pod": t.ActiveService, "services for clients": strings.Join(t.ClientServices, ", "),
		"headless service": t.HeadlessService, "address": t.Address(),
	}
	if t.SidecarContainer != "" {
		facts["sidecar"] = t.SidecarContainer
	}
	if t.Custody != nil {
		facts["custody"] = "secrets " + t.CustodyPrefix + "-*"
	}
	maps.Copy(facts, t.seen.facts)
	maps.DeleteFunc(facts, func(_, value string) bool { return value == "" })
	return facts
}

// Unseen tells what of this Vault was not found, with the reason. Checks that need it are
// skipped.
func (t *Target) Unseen() map[string]string {
	reasons := maps.Clone(t.seen.reasons)
	if reasons == nil {
		reasons = map[string]string{}
	}
	if t.Custody == nil && t.CustodyReason != "" {
		reasons["custody"] = t.CustodyReason
	}
	if t.SidecarContainer == "" {
		reasons["sidecar"] = "the pods have no container named " + sidecarName
	}
	if t.HeadlessService == "" {
		reasons["headless service"] = "no headless Service selects the Vault pods"
	}
	return reasons
}

// say writes one line about what is tested.
func (t *Target) say() {
	var facts, reasons []any
	for _, what := range slices.Sorted(maps.Keys(t.Found())) {
		facts = append(facts, slog.String(what, t.Found()[what]))
	}
	for _, what := range slices.Sorted(maps.Keys(t.Unseen())) {
		reasons = append(reasons, slog.String(what, t.Unseen()[what]))
	}
	slog.Info("this is the Vault to look at", slog.Group("found", facts...), slog.Group("unseen", reasons...))
}
