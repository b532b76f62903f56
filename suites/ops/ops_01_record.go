package ops

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/vaultproof/vaultproof/pkg/fault"
	"github.com/vaultproof/vaultproof/suites/trial"
)

// witness is Vault's own word that it cannot open the file.
func (l *loss) witness(ctx context.Context) (fault.Witness, error) {
	says := &mentions{word: "unable to open file for sink"}
	err := l.await(ctx, func(ctx context.Context) (bool, error) {
		_ = l.request(ctx, "cubbyhole/vaultproof-audit-witness") // anything that is recorded
		says.lines = nil
		err := journal{target: l.r.Target, pod: l.pod, since: l.from}.containerLog(ctx, &lineWriter{look: says.look}, false)
		return len(says.lines) > 0, err
	})
	if err != nil {
		return fault.Witness{}, l.r.CannotTell(fmt.Errorf("%w: the log of Vault in pod %s does not say that it cannot open %s: %w", fault.ErrNoWitness, l.pod, l.lost.file(), err))
	}
	l.note("witnessed")
	return fault.Witness{Evidence: "Vault's log in pod " + l.pod + ": " + says.word + " " + l.lost.file(), At: time.Now()}, nil
}

// recorded judges that a request is recorded by each of the devices that can be read.
func (l *loss) recorded(ctx context.Context, list []device) error {
	name := canaryName()
	since := time.Now().Add(-skew)
	if err := l.request(ctx, "cubbyhole/"+name); err != nil {
		return fmt.Errorf("a request to pod %s while %d audit devices take records: %w; want it served", l.pod, len(list), err)
	}
	for _, d := range list {
		err := l.await(ctx, func(ctx context.Context) (bool, error) {
			found := &mentions{word: name}
			err := journal{target: l.r.Target, pod: l.pod, since: since}.read(ctx, d, &lineWriter{look: found.look})
			return len(found.lines) > 0, err
		})
		switch {
		case errors.Is(err, errOutOfReach):
			l.r.Note("audit device %s was not looked at: %v", d, err)
		case errors.Is(err, errNotYet):
			return fmt.Errorf("the audit device %s of pod %s has no record of a request made at %s, after %s; want every device to have it (vault#31718: a file that was deleted is written on, unseen)",
				d, l.pod, trial.Clock(since.Add(skew)), recordedWithin)
		case err != nil:
			return l.r.CannotTell(err)
		}
	}
	return nil
}

// request makes a request of this name, which is in the record as it is.
func (l *loss) request(ctx context.Context, path string) error {
	_, err := l.root.Logical().WriteWithContext(ctx, path, map[string]any{"at": time.Now().UTC().Format(time.RFC3339)})
	return err
}

// canaryName is a name that nothing else has.
func canaryName() string { return "vaultproof-audit-" + strings.ToLower(rand.Text()) }

// errNotYet means that something did not come about in time.
var errNotYet = errors.New("it did not come about in time")

// await tries until it is so, or an attempt says that it never will be.
func (l *loss) await(ctx context.Context, attempt func(context.Context) (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, recordedWithin)
	defer cancel()
	var last error
	err := wait.PollUntilContextCancel(ctx, 250*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		ok, err := attempt(ctx)
		if errors.Is(err, errOutOfReach) {
			return false, err
		}
		if ctx.Err() == nil {
			last = err
		}
		return ok && err == nil, nil
	})
	switch {
	case errors.Is(err, errOutOfReach), err == nil:
		return err
	case last != nil:
		return last
	}
	return errNotYet
}
