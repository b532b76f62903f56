package ops

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/onsi/ginkgo/v2"

	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/target"
)

var ops05 = conformance.Check{
	ID: "OPS-05", Area: area, Level: conformance.Must, Manner: conformance.Reads,
	Assertion: "sys/metrics, sys/pprof, sys/in-flight-req, sys/raw and whatever else shows Vault's inside need a token; raw_storage_endpoint and introspection_endpoint are off",
	Source:    "audit/index.mdx (sys/raw is not for everyday use); Vault listener telemetry, profiling and inflight_requests_logging",
	Observe: "GET of each on every pod without a token, and sys/seal-status beside them as a control; where a standby hands on to the active pod the pod that it names is asked, and the last answer is judged; " +
		"sys/config/state/sanitized, and the files of Vault's ConfigMaps, for the two endpoints (with its address: sys/raw without a right to it answers as if it were off)",
}

// guarded are paths that say nothing without a token. Profile and trace are taken for
// one second, should they be open.
var guarded = []string{
	"sys/metrics", "sys/metrics?format=prometheus",
	"sys/pprof/", "sys/pprof/allocs", "sys/pprof/block", "sys/pprof/cmdline", "sys/pprof/goroutine", "sys/pprof/heap", "sys/pprof/mutex",
	"sys/pprof/profile?seconds=1", "sys/pprof/symbol", "sys/pprof/threadcreate", "sys/pprof/trace?seconds=1",
	"sys/in-flight-req", "sys/monitor", "sys/host-info", "sys/config/state/sanitized",
	"sys/raw", "sys/raw/core/keyring", "sys/internal/inspect/router/root",
}

// control is a path that answers anybody.
const control = "sys/seal-status"

var _ = conformance.It(ops05, conformance.Conformance, func(ctx ginkgo.SpecContext, r *conformance.Case) error {
	pods, err := r.Target.Pods(ctx)
	if err != nil {
		return r.CannotTell(err)
	}
	a := newAsker(r.Target, pods)
	defer a.close()
	answers, err := a.askAll(ctx)
	if err != nil {
		return r.CannotTell(err)
	}
	handed := 0
	for _, answer := range answers {
		if len(answer.via) > 1 {
			handed++
		}
	}
	r.Measure("questions_total", float64(len(answers)))
	r.Measure("handed_on_total", float64(handed))
	if err := shut(answers); errors.Is(err, errSilent) {
		return r.CannotTell(err)
	} else if err != nil {
		return err
	}
	settings, err := endpointSettings(ctx, r.Target)
	if errors.Is(err, target.ErrNoPrivilege) {
		return r.Skip("nothing is told without a token, but whether the endpoints are off cannot be seen: no ConfigMap holds Vault's files, and %v", err)
	}
	if err != nil {
		return r.CannotTell(err)
	}
	return off(settings)
})

// podAnswer is the last answer to a question without a token.
type podAnswer struct {
	path string
	// via are the pods that were asked, one handing on to the next.
	via  []string
	code int // of the last one's answer
	// lost is where the last one handed on to, if that is no pod of this Vault or
	// the question went round in circles.
	lost string
}

// who names the pods that were asked.
func (a podAnswer) who() string {
	if len(a.via) == 1 {
		return "pod " + a.via[0]
	}
	return "pod " + a.via[len(a.via)-1] + " (to which " + strings.Join(a.via[:len(a.via)-1], ", ") + " handed on)"
}

// errSilent means that a pod did not say enough to judge it.
var errSilent = errors.New("a pod cannot be judged")

// shut judges the answers: whatever tells something first, and then whatever shows
// nothing. A pod that is sealed refuses everything, and a standby hands on without
// having looked at the token: neither of that is a refusal.
func shut(answers []podAnswer) error {
	if len(answers) == 0 {
		return fmt.Errorf("%w: there is no Vault pod", errSilent)
	}
	for _, a := range answers {
		if a.path != control && a.code >= 200 && a.code < 300 {
			return fmt.Errorf("%s answers %s without a token with %d, want 403: anybody in the network reads it (listener telemetry, profiling, inflight_requests_logging)", a.who(), a.path, a.code)
		}
	}
	for _, a := range answers {
		switch {
		case a.path == control && a.code != http.StatusOK:
			return fmt.Errorf("%w: %s answers %s with %d, want 200 as a control", errSilent, a.who(), a.path, a.code)
		case a.path == control, a.code == http.StatusForbidden:
		case a.lost != "":
			return fmt.Errorf("%w: %s hands %s on to %s (%d), which is none of the other Vault pods, so that nobody refused it; want VAULT_API_ADDR to name its pod", errSilent, a.who(), a.path, a.lost, a.code)
		default:
			return fmt.Errorf("%w: %s answers %s without a token with %d, want 403: it is sealed or broken", errSilent, a.who(), a.path, a.code)
		}
	}
	return nil
}
