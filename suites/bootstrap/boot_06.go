package bootstrap

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/onsi/ginkgo/v2"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/custody"
	"github.com/vaultproof/vaultproof/pkg/target"
)

// claimSecret is the suffix of the secret that is the right to initialise.
const claimSecret = "init-claim"

var boot06 = conformance.Check{
	ID: "BOOT-06", Area: area, Level: conformance.Must, Manner: conformance.Reads,
	Assertion: "only ordinal 0 calls sys/init, even when keys are absent",
	Source:    "bank-vaults#3309, PR#3310",
	Observe: "the states in the log of every sidecar and the inits in the log of every Vault, present and previous; the holder of the claim in custody. " +
		"Empty storage beside absent keys cannot be made on a stack that serves: the sidecar's own tests have it",
}

var _ = conformance.It(boot06, conformance.Conformance, func(ctx ginkgo.SpecContext, r *conformance.Case) error {
	if r.Target.SidecarContainer == "" {
		return r.Skip("the pods of StatefulSet %s have no bootstrap container", r.Target.StatefulSet)
	}
	pods, err := r.Target.Pods(ctx)
	if err != nil {
		return r.CannotTell(err)
	}
	var traces []initTraces
	transitions := 0
	for _, pod := range pods {
		seen, err := initTracesOf(ctx, r.Target, &pod)
		if err != nil {
			return r.CannotTell(err)
		}
		traces = append(traces, seen)
		transitions += seen.transitions
	}
	r.Measure("transitions_total", float64(transitions))
	err = onlyFirstInitialises(traces)
	if errors.Is(err, errBlind) {
		return r.CannotTell(err)
	}
	if err != nil {
		return err
	}
	raw, err := r.Target.Secret(ctx, claimSecret)
	if errors.Is(err, custody.ErrNotFound) {
		return fmt.Errorf("custody holds no secret %s-%s, want a claim of %s-0: nothing kept two pods from initialising", r.Target.CustodyPrefix, claimSecret, r.Target.StatefulSet)
	}
	if err != nil {
		return r.CannotTell(err)
	}
	return claimedByFirst(r.Target.CustodyPrefix+"-"+claimSecret, raw, r.Target.StatefulSet+"-0")
})

// errBlind means that an observation lacks what would make its silence count.
var errBlind = errors.New("nothing can be concluded")

// initTraces is what the logs of one pod tell of initialising.
type initTraces struct {
	pod         string
	transitions int      // lines in which the sidecar names its state
	towards     []string // states on the way to sys/init that it went through
	inits       int      // times that its Vault was initialised by sys/init
}

// initStates are the states of the sidecar that lead to sys/init, and the one
// after it. Only ordinal 0 may be in them.
var initStates = []string{"custody-proven", "init-claimed", "initialised"}

// initLine is in Vault's log, whatever its format, when sys/init was carried
// out; a Vault that joins a raft cluster does not say it.
const initLine = "security barrier initialized"

// initTracesOf reads the logs of a pod's two containers, and of their last life
// if they were restarted.
func initTracesOf(ctx context.Context, t *target.Target, pod *corev1.Pod) (initTraces, error) {
	seen := initTraces{pod: pod.Name}
	for container, take := range map[string]func(string){t.SidecarContainer: seen.sidecarLine, t.Container: seen.vaultLine} {
		for _, previous := range lives(pod, container) {
			if err := readLog(ctx, t, pod.Name, container, previous, take); err != nil {
				return seen, err
			}
		}
	}
	return seen, nil
}

// readLog calls take with every line of a container's log. The log of a last
// life may be gone from the node.
func readLog(ctx context.Context, t *target.Target, pod, container string, previous bool, take func(string)) error {
	stream, err := t.Log(ctx, pod, container, previous)
	if previous && (apierrors.IsNotFound(err) || apierrors.IsBadRequest(err)) {
		return nil
	}
	if err != nil {
		return err
	}
	defer stream.Close()
	if err := eachLine(stream, take); err != nil {
		return fmt.Errorf("reading the log of container %s in pod %s: %w", container, pod, err)
	}
	return nil
}

// lives tells which logs of a container there may be: the present one, and
// after a restart that of its last life (true).
func lives(pod *corev1.Pod, container string) []bool {
	for _, c := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
		if c.Name == container && c.RestartCount > 0 {
			return []bool{true, false}
		}
	}
	return []bool{false}
}

// eachLine calls take with every line of r, however long.
func eachLine(r io.Reader, take func(string)) error {
	buffered := bufio.NewReader(r)
	for {
		line, err := buffered.ReadString('\n')
		if line != "" {
			take(strings.TrimRight(line, "\r\n"))
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (s *initTraces) sidecarLine(line string) {
	state := stateIn(line)
	if state == "" {
		return
	}
	s.transitions++
	if slices.Contains(initStates, state) && !slices.Contains(s.towards, state) {
		s.towards = append(s.towards, state)
	}
}

func (s *initTraces) vaultLine(line string) {
	if strings.Contains(line, initLine) {
		s.inits++
	}
}

// stateIn gives the state that a line of a sidecar's log names, after the
// kubelet's time; "" if the line is no transition.
func stateIn(line string) string {
	start := strings.IndexByte(line, '{')
	if start < 0 {
		return ""
	}
	var entry struct {
		Message string `json:"msg"`
	}
	if json.Unmarshal([]byte(line[start:]), &entry) != nil {
		return ""
	}
	state, found := strings.CutPrefix(entry.Message, "state ")
	if !found {
		return ""
	}
	return state
}

// onlyFirstInitialises judges the logs. A sidecar whose log has no transition
// at all was not understood, and its silence means nothing: errBlind.
func onlyFirstInitialises(traces []initTraces) error {
	if len(traces) == 0 {
		return errors.New("there is no Vault pod")
	}
	for _, s := range traces {
		ordinal, err := strconv.Atoi(s.pod[strings.LastIndexByte(s.pod, '-')+1:])
		switch {
		case err != nil:
			return fmt.Errorf("pod %s has no ordinal in its name, so nothing says which one may initialise: want a StatefulSet's pods (bank-vaults#3309)", s.pod)
		case ordinal > 0 && s.inits > 0:
			return fmt.Errorf("the log of Vault in pod %s says %q %d times, want it on ordinal 0 alone: this pod was initialised by sys/init (bank-vaults#3309)", s.pod, initLine, s.inits)
		case ordinal > 0 && len(s.towards) > 0:
			return fmt.Errorf("the sidecar of pod %s logged the states %s, want them on ordinal 0 alone (bank-vaults#3309)", s.pod, strings.Join(s.towards, ", "))
		}
	}
	for _, s := range traces {
		if s.transitions == 0 {
			return fmt.Errorf("%w: the sidecar's log of pod %s names no state", errBlind, s.pod)
		}
	}
	return nil
}

// claimedByFirst judges the claim in custody, which holds no secret.
func claimedByFirst(secret string, raw []byte, first string) error {
	var claim struct {
		Holder string `json:"holder"`
		Phase  string `json:"phase"`
	}
	if err := json.Unmarshal(raw, &claim); err != nil || claim.Holder == "" {
		return fmt.Errorf("secret %s is no claim that names its holder, want one of %s (bank-vaults#3309)", secret, first)
	}
	if claim.Holder != first {
		return fmt.Errorf("secret %s says that %s initialised this Vault, want %s, which alone may (bank-vaults#3309)", secret, claim.Holder, first)
	}
	if claim.Phase != "stored" {
		return fmt.Errorf("secret %s of %s is in phase %q, want \"stored\": its holder never finished", secret, claim.Holder, claim.Phase)
	}
	return nil
}
