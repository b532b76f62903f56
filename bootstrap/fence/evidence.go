package fence

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/vaultproof/vaultproof/bootstrap/kube"
	"github.com/vaultproof/vaultproof/bootstrap/registrar"
	"github.com/vaultproof/vaultproof/bootstrap/vault"
)

// Troubles that are not the API server's.
const (
	noMajority = "no-majority"
	disputed   = "disputed"
)

// evidence of who is active. At most one of active and notActive holds; with
// neither, nothing is known and nothing is written.
type evidence struct {
	active    bool // own Vault says so; with no trouble, a majority does
	notActive bool // own Vault is certainly not active
	silent    bool // own Vault holds its answer back
	text      string
	trouble   trouble
}

// evidence asks own Vault, and if it is active the peers. Why it is not active
// is only looked into if its label claims that it is.
func (f *Fence) evidence(ctx context.Context, said registrar.Said, labelled bool) evidence {
	if f.o.Registration != nil {
		return f.registered(ctx, said, labelled)
	}
	l, err := f.ask(ctx, f.o.Self)
	switch {
	case err == nil && l.Self:
		return f.tally(ctx, l.Address)
	case err == nil:
		return evidence{notActive: true, text: "its own sys/leader says that it is a standby"}
	case !labelled:
		return evidence{}
	case errors.Is(err, syscall.ECONNREFUSED):
		return evidence{notActive: true, text: "no Vault listens in the pod"}
	}
	bounded, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	if s, err := f.o.Self.SealStatus(bounded); err == nil && s.Sealed {
		return evidence{notActive: true, text: "its own sys/seal-status says that it is sealed"}
	}
	return evidence{}
}

// registered is the evidence where Vault tells the registrar what it does. That
// it is not active is believed at once. That it is active is only believed when
// it serves; its announcement comes before.
func (f *Fence) registered(ctx context.Context, said registrar.Said, labelled bool) evidence {
	off := evidence{notActive: true, text: "its own service registration said that it is not active"}
	if said.Off() && said.Seq != f.heard {
		return off
	}
	h, err := f.health(ctx)
	if err == nil {
		f.o.Registration.Learn(said.Seq, h)
		if h.Sealed || !h.Initialised {
			return evidence{notActive: true, text: "its own sys/health says that it is sealed"}
		}
		var l vault.Leader
		if l, err = f.ask(ctx, f.o.Self); err == nil {
			return f.role(ctx, h, l)
		}
	}
	switch {
	case said.Off():
		return off
	case labelled && errors.Is(err, syscall.ECONNREFUSED):
		return evidence{notActive: true, text: "no Vault listens in the pod"}
	}
	return evidence{silent: errors.Is(err, context.DeadlineExceeded)}
}

// role follows from two answers of own Vault.
func (f *Fence) role(ctx context.Context, h vault.Health, l vault.Leader) evidence {
	switch {
	case h.Active && l.Self:
		return f.tally(ctx, l.Address)
	case !h.Active && !l.Self:
		return evidence{notActive: true, text: "its own sys/leader says that it is a standby"}
	}
	return evidence{silent: true} // it changed its role in between
}

func (f *Fence) health(ctx context.Context) (vault.Health, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	return f.o.Self.Health(ctx)
}

func (f *Fence) ask(ctx context.Context, v LeaderAsker) (vault.Leader, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	return v.Leader(ctx)
}

// answer of one peer.
type answer struct {
	pod    string
	leader vault.Leader
	err    error
}

// tally asks all peers at once whether own is the address of the active Vault.
func (f *Fence) tally(ctx context.Context, own string) evidence {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	answers := make(chan answer, len(f.o.Peers)) // never blocks a peer that is late
	for pod, peer := range f.o.Peers {
		go func() {
			l, err := f.ask(ctx, peer)
			answers <- answer{pod, l, err}
		}()
	}
	voters := []string{f.o.Pod}
	var late <-chan time.Time
	for heard := 0; heard < len(f.o.Peers); {
		if late == nil && len(voters) >= f.majority {
			late = time.After(settle)
		}
		select {
		case a := <-answers:
			heard++
			switch {
			case a.err != nil:
			case a.leader.Self:
				return evidence{active: true, trouble: trouble{kind: disputed,
					text: fmt.Sprintf("%s says that it is active, and so does %s: no label is touched until one of them steps down", f.o.Pod, a.pod)}}
			case own != "" && a.leader.Address == own:
				voters = append(voters, a.pod)
			}
			continue
		case <-late:
		}
		break
	}
	if len(voters) < f.majority {
		return evidence{active: true, trouble: trouble{kind: noMajority,
			text: fmt.Sprintf("%s says that it is active, but only %d of %d pods name it as active: no label is touched", f.o.Pod, len(voters), len(f.o.Pods))}}
	}
	slices.Sort(voters)
	return evidence{active: true, text: fmt.Sprintf("sys/leader of %s names %s", strings.Join(voters, " and "), own)}
}

// repaired counts and logs one label that was put right.
func (f *Fence) repaired(ctx context.Context, p kube.Pod, to string, e evidence) {
	f.o.Board.LabelRepaired(p.Name)
	why := "its own service registration did not publish it; if this repeats, look at Vault's log for service_registration"
	switch {
	case p.Name != f.o.Pod:
		why = "Services kept routing to it, though it is not active; if it does not come back by itself, look at the pod and its node"
	case to == "false":
		why = "its own service registration did not take it back"
	}
	f.o.Log.Log(ctx, slog.LevelWarn, "label repaired", "pod", p.Name, "label", Label, "from", p.Labels[Label], "to", to,
		"by", f.o.Pod, "evidence", e.text, "wrongForMs", time.Since(f.wrongSince[p.Name]).Milliseconds(), "why", why)
	delete(f.wrongSince, p.Name)
}
