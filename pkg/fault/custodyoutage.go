package fault

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

// healTimeout bounds the healing of a custody that could not be broken as
// asked for.
const healTimeout = 10 * time.Second

// failureCodes are the gRPC codes by which a mode shows in custody's log. A
// delay is not among them: its calls succeed, so nothing would prove it. A
// caller that gives up before its deadline is over cancels the call.
var failureCodes = map[string][]string{
	"deny":        {"PermissionDenied"},
	"unavailable": {"Unavailable"},
	"quota":       {"ResourceExhausted"},
	"deadline":    {"DeadlineExceeded", "Canceled"},
}

// CustodyOutage makes custody refuse calls, or leave them without an answer.
type CustodyOutage struct {
	Switch CustodySwitch
	Fault  CustodyFault
	// Principal and Prefix say whose failed call is the witness: namespace and
	// service account, and the start of the secret's id. Empty means any.
	Principal, Prefix string
}

// Kind is custody- with the mode.
func (f *CustodyOutage) Kind() string { return "custody-" + f.Fault.Mode }

// Target is what custody is asked for.
func (f *CustodyOutage) Target() string {
	target := "custody"
	if f.Fault.Method != "" {
		target += ", " + f.Fault.Method
	}
	if f.Fault.Secret != "" {
		target += ", secret " + f.Fault.Secret
	}
	return target
}

// Inject turns the switch. It ends by itself if the run dies: see
// CustodySwitch's implementations.
func (f *CustodyOutage) Inject(ctx context.Context) (Injected, error) {
	if f.Switch == nil {
		return nil, fmt.Errorf("%w: this custody cannot be made to fail", ErrUnavailable)
	}
	if failureCodes[f.Fault.Mode] == nil {
		return nil, fmt.Errorf("%w: the mode %q leaves no trace in custody's log that could prove it", ErrUnavailable, f.Fault.Mode)
	}
	at := time.Now()
	if err := f.Switch.Set(ctx, f.Fault); err != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), healTimeout)
		defer cancel()
		return nil, errors.Join(fmt.Errorf("making custody fail (%s): %w", f.Kind(), err), f.Switch.Heal(ctx))
	}
	return &custodyOut{fault: f, at: at}, nil
}

type custodyOut struct {
	fault *CustodyOutage
	at    time.Time
}

// Witness waits until custody's own log has a call that failed in the way that
// was asked for.
func (o *custodyOut) Witness(ctx context.Context) (Witness, error) {
	seen := "custody's log was not read in time"
	var witness Witness
	err := wait.PollUntilContextCancel(ctx, pollEvery, true, func(ctx context.Context) (bool, error) {
		calls, err := o.fault.Switch.Calls(ctx, o.at)
		if err != nil {
			if ctx.Err() == nil {
				seen = err.Error()
			}
			return false, nil // the deadline decides
		}
		evidence, failed := o.fault.failedCall(calls)
		seen = evidence
		witness = Witness{Evidence: evidence, At: time.Now()}
		return failed, nil
	})
	if err != nil {
		return Witness{}, fmt.Errorf("%w: %s", ErrNoWitness, seen)
	}
	return witness, nil
}

// failedCall looks for a call that the fault made fail.
func (f *CustodyOutage) failedCall(calls []CustodyCall) (evidence string, found bool) {
	concerned := 0
	for _, c := range calls {
		if f.Principal != "" && c.Principal != f.Principal || !strings.HasPrefix(c.Secret, f.Prefix) ||
			f.Fault.Method != "" && c.Method != f.Fault.Method || !f.Fault.means(c.Secret) {
			continue
		}
		concerned++
		if slices.Contains(failureCodes[f.Fault.Mode], c.Code) {
			return fmt.Sprintf("custody's log: %s of %s by %s at %s ended with %s", c.Method, c.Secret, c.Principal,
				c.At.UTC().Format(time.RFC3339), c.Code), true
		}
	}
	return fmt.Sprintf("of %d calls in custody's log %d concern %s, and none ended with %s", len(calls), concerned, f.Target(),
		strings.Join(failureCodes[f.Fault.Mode], " or ")), false
}

// Recover heals custody.
func (o *custodyOut) Recover(ctx context.Context) error {
	if err := o.fault.Switch.Heal(ctx); err != nil {
		return fmt.Errorf("healing custody after %s: %w", o.fault.Kind(), err)
	}
	return nil
}
