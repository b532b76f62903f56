package fault

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"
	corev1 "k8s.io/api/core/v1"
)

// saveScript prints the counters of the packet filter in the network namespace
// of the container whose id is $1. Its first process leads there. Both kinds of
// iptables are read: which one a kernel's tools select differs between images.
const saveScript = `
for pid in $(processes "$1"); do
  for save in iptables-save iptables-legacy-save iptables-nft-save; do
    command -v "$save" >/dev/null && nsenter -t "$pid" -n "$save" -c -t filter 2>/dev/null
  done
  exit 0
done
echo "no process of the container is on this node" >&2
exit 3`

// drops reads the counters of the rules that cut a pod off. The pod is read anew,
// because its container may have been restarted meanwhile.
func (e *Env) drops(ctx context.Context, victim *corev1.Pod) (map[string]uint64, error) {
	where, err := e.place(ctx, victim.Name)
	if err != nil {
		return nil, err
	}
	saved, err := where.run(ctx, saveScript)
	if err != nil {
		return nil, fmt.Errorf("reading packet counters on node %s: %w", where.node, err)
	}
	return hookedDrops(saved), nil
}

// hookedDrops parses the output of iptables-save -c and returns how many
// packets each DROP rule has dropped, for the rules in chains that CHAOS-INPUT
// or CHAOS-OUTPUT jump to while the built-in chains jump to those.
func hookedDrops(saved string) map[string]uint64 {
	type rule struct {
		chain, jump string
		packets     uint64
		text        string
	}
	var rules []rule
	jumps := map[string]map[string]bool{}
	for line := range strings.Lines(saved) {
		packets, rest, ok := counters(line)
		if !ok {
			continue
		}
		words := strings.Fields(rest)
		if len(words) < 2 || words[0] != "-A" {
			continue
		}
		r := rule{chain: words[1], packets: packets, text: strings.Join(words[1:], " ")}
		if i := slices.Index(words, "-j"); i >= 0 && i+1 < len(words) {
			r.jump = words[i+1]
		}
		if jumps[r.chain] == nil {
			jumps[r.chain] = map[string]bool{}
		}
		jumps[r.chain][r.jump] = true
		rules = append(rules, r)
	}
	hooked := map[string]bool{}
	for _, direction := range []string{"INPUT", "OUTPUT"} {
		if jumps[direction]["CHAOS-"+direction] {
			for chain := range jumps["CHAOS-"+direction] {
				hooked[chain] = true
			}
		}
	}
	drops := map[string]uint64{}
	for _, r := range rules {
		if hooked[r.chain] && r.jump == "DROP" {
			drops[r.text] += r.packets
		}
	}
	return drops
}

// counters splits "[packets:bytes] rule".
func counters(line string) (packets uint64, rule string, ok bool) {
	inside, rule, ok := strings.Cut(strings.TrimPrefix(line, "["), "] ")
	if !ok || !strings.HasPrefix(line, "[") {
		return 0, "", false
	}
	number, _, _ := strings.Cut(inside, ":")
	packets, err := strconv.ParseUint(number, 10, 64)
	return packets, rule, err == nil
}

// risingDrops names the rules that dropped more packets than at the first
// reading. A rule that was not there at first counts from zero.
func risingDrops(first, now map[string]uint64) (evidence string, rising bool) {
	var words []string
	for text, packets := range now {
		if packets > first[text] {
			words = append(words, fmt.Sprintf("rule %q went from %d to %d dropped packets", text, first[text], packets))
		}
	}
	slices.Sort(words)
	return strings.Join(words, "; "), len(words) > 0
}

// directed leaves those rules that drop packets of the direction: what a pod sends
// leaves by a device, what it gets comes in by one.
func directed(drops map[string]uint64, direction v1alpha1.Direction) map[string]uint64 {
	other := map[v1alpha1.Direction]string{v1alpha1.To: "-i", v1alpha1.From: "-o"}[direction]
	maps.DeleteFunc(drops, func(rule string, _ uint64) bool {
		return other != "" && slices.Contains(strings.Fields(rule), other)
	})
	return drops
}
