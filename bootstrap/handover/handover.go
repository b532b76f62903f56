package handover

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/vaultproof/vaultproof/bootstrap/vault"
)

const (
	// Budget is how long a handover may take, and Settle how long Vault stays up
	// after it. Vault's hook waits a little longer than both.
	Budget = 6 * time.Second
	// Settle lets the clients follow. Traffic still comes here until every node's
	// kube-proxy has learnt of the new active pod, which it does at most once a
	// second, and longer on connections that are kept alive; this Vault, a standby
	// now, passes it on. For ten seconds after a step-down Vault sleeps and cannot
	// be interrupted (manualStepDownSleepPeriod in vault/core.go): told to stop
	// then, it would hold every request that reaches it until the sleep is over,
	// and stop no sooner. No condition to wait for can be seen from outside.
	Settle = 10500 * time.Millisecond

	pollEvery = 50 * time.Millisecond
	// leaderTimeout bounds one question for the leader. While Vault changes its
	// role it holds answers back.
	leaderTimeout = time.Second
	// companyTimeout is how long Vault's hook may be later than this one; the
	// kubelet starts them together.
	companyTimeout = 2 * time.Second
	tokenTimeout   = 2 * time.Second
	// moveTimeout is how long another may take to become active.
	moveTimeout = 4 * time.Second
	// againAfter is how long a step-down may show no effect before it is tried
	// again. Vault carries one out in well under a second.
	againAfter = 1500 * time.Millisecond
	// attempts is how often Vault is told to step down at most.
	attempts = 2
)

// Vault is the Vault of the own pod.
type Vault interface {
	Leader(ctx context.Context) (vault.Leader, error)
	StepDown(ctx context.Context, token []byte) error
}

// Handover is one attempt to give leadership away.
type Handover struct {
	Vault Vault
	// Secret names the token's secret in custody, for messages; Token reads it.
	Secret string
	Token  func(ctx context.Context) ([]byte, error)
	// Stopping waits until Vault is known to be stopped too; false when that
	// did not show before ctx ended.
	Stopping func(ctx context.Context) bool
	// Settle is how long to stay after leadership has moved.
	Settle time.Duration
}

// Run hands leadership over if this Vault has it, and tells in one sentence
// what came of it. An error means that this Vault is active, and may still be
// so.
func (h *Handover) Run(ctx context.Context) (string, error) {
	was, err := h.leader(ctx)
	if err != nil {
		return fmt.Sprintf("nothing to hand over: Vault does not say that it is active (%v)", err), nil
	}
	if !was.Self {
		return "nothing to hand over: Vault is not active", nil
	}
	if !h.inCompany(ctx) {
		return "leadership stays: only the sidecar is being stopped, not Vault", nil
	}
	token, err := h.token(ctx)
	if err != nil {
		return "", fmt.Errorf("leadership was not handed over, because its token could not be read: %w", err)
	}
	defer clear(token)
	begin := time.Now()
	next, err := h.move(ctx, was.Address, token)
	if err != nil {
		return "", fmt.Errorf("leadership was not handed over: %w", err)
	}
	took := time.Since(begin)
	h.settle(ctx)
	return fmt.Sprintf("leadership handed over to %s in %d ms", next, took.Milliseconds()), nil
}

func (h *Handover) settle(ctx context.Context) {
	timer := time.NewTimer(h.Settle)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

func (h *Handover) leader(ctx context.Context) (vault.Leader, error) {
	ctx, cancel := context.WithTimeout(ctx, leaderTimeout)
	defer cancel()
	return h.Vault.Leader(ctx)
}

func (h *Handover) inCompany(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, companyTimeout)
	defer cancel()
	return h.Stopping(ctx)
}

func (h *Handover) token(ctx context.Context) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, tokenTimeout)
	defer cancel()
	return h.Token(ctx)
}

// move steps down and waits until another address than own is active.
func (h *Handover) move(ctx context.Context, own string, token []byte) (next string, err error) {
	ctx, cancel := context.WithTimeout(ctx, moveTimeout)
	defer cancel()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	var told time.Time // when Vault was last told to step down
	var trouble error  // of the last call that failed
	left := false      // it was seen not to be active since then
	for n := 0; ; {
		switch now, err := h.leader(ctx); {
		case err != nil && ctx.Err() == nil:
			trouble = err
		case err != nil:
		case !now.Self && now.Address != "" && now.Address != own:
			return now.Address, nil
		case !now.Self:
			left = true
		case n < attempts && (left || time.Since(told) > againAfter):
			n, told, left = n+1, time.Now(), false
			trouble = h.Vault.StepDown(ctx, token)
			if vault.Denied(trouble) {
				return "", fmt.Errorf("Vault denies sys/step-down to the token in secret %s: it is dead or lacks the policy handover; "+
					"the sidecar of the active Vault makes a new one with the provisioner token when it next looks, and that of a newly active Vault at once", h.Secret)
			}
		}
		select {
		case <-ctx.Done():
			err := errors.New("Vault was told to step down, but no other Vault became active in time")
			if left {
				err = errors.New("Vault stepped down, but names no other as active")
			}
			if trouble != nil {
				err = fmt.Errorf("%w (last failure: %w)", err, trouble)
			}
			return "", err
		case <-tick.C:
		}
	}
}
