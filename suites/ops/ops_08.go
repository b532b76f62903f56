package ops

import (
	"errors"
	"fmt"
	"strings"

	"github.com/onsi/ginkgo/v2"

	"github.com/vaultproof/vaultproof/pkg/conformance"
)

var ops08 = conformance.Check{
	ID: "OPS-08", Area: area, Level: conformance.Must, Manner: conformance.Reads,
	Assertion: "the log level of Vault and of its sidecar is not debug or trace, and no secret is in any log of the Vault pods",
	Source:    "bank-vaults operator_client.go:352,365,369 (keys in logs at debug level)",
	Observe: "arguments and environment of both containers, Vault's files and sys/config/state/sanitized; logs of all containers, present and previous, searched for every secret in custody in all encodings, with a positive control, " +
		"and for anything of a Vault token's form. What the sidecar logs at debug level is in its own tests: the level of a stack that serves is left alone",
}

var _ = conformance.It(ops08, conformance.Conformance, func(ctx ginkgo.SpecContext, r *conformance.Case) error {
	levels, err := logLevels(ctx, r.Target)
	if err != nil {
		return r.CannotTell(err)
	}
	if err := notVerbose(levels); err != nil {
		return err
	}
	scanner, err := r.Scanner(ctx)
	if err != nil {
		return r.CannotTell(err)
	}
	pods, err := r.Target.Pods(ctx)
	if err != nil {
		return r.CannotTell(err)
	}
	logs, err := scanLogs(ctx, r.Target, pods, scanner)
	if err != nil {
		return r.CannotTell(err)
	}
	var size int64
	for _, l := range logs {
		size += l.bytes
	}
	r.Measure("logs_total", float64(len(logs)))
	r.Measure("logs_bytes", float64(size))
	r.Measure("secrets_searched_total", float64(scanner.Needles()))
	return clean(logs, wantedLogs(r.Target, pods))
})

// clean judges the logs. One that is wanted and absent or empty proves nothing,
// and neither do no logs at all.
func clean(logs []scanned, wanted []string) error {
	size := map[string]int64{}
	var words []string
	for _, l := range logs {
		size[l.name] += l.bytes
		for _, f := range l.found {
			words = append(words, fmt.Sprintf("%s in the log of %s", f, l.name))
		}
		if len(l.found) == 0 && l.tokens > 0 {
			words = append(words, fmt.Sprintf("something of a Vault token's form in %d lines of the log of %s", l.tokens, l.name))
		}
	}
	if len(words) > 0 {
		return fmt.Errorf("secrets are in logs: %s; want none (bank-vaults operator_client.go:352)", strings.Join(words, "; "))
	}
	for _, l := range logs {
		if l.debug > 0 {
			return fmt.Errorf("%d lines of the log of %s are of level DEBUG, want info or above", l.debug, l.name)
		}
	}
	for _, name := range wanted {
		if size[name] == 0 {
			return fmt.Errorf("the log of %s holds no byte: there is nothing to judge", name)
		}
	}
	if len(wanted) == 0 {
		return errors.New("there is no Vault pod whose log could be judged")
	}
	return nil
}
