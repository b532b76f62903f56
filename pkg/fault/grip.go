package fault

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/wait"
)

// grip is what was done to a container on its node by a command, and is undone by
// another one: by Recover, or by the node itself when its time is over.
type grip struct {
	place
	ref Ref
	// release is the script that undoes it. It prints a line for each thing that it
	// undid, so nothing when all is undone.
	release string
	timer   string // the process group that releases it in the end
}

// seize notes what is about to be done in the journal, has the node undo it after
// lasting, and does it. It returns what do said.
func (p place) seize(ctx context.Context, g grip, lasting time.Duration, do func(context.Context) (string, error)) (*grip, string, error) {
	if err := p.env.has(ctx, p.node, "setsid"); err != nil {
		return nil, "", err
	}
	g.place = p
	g.ref.Namespace, g.ref.Name = p.pod.Namespace, p.pod.Name+"/"+p.env.Container
	if p.env.Journal != nil {
		if err := p.env.Journal.Begin(g.ref); err != nil {
			return nil, "", err
		}
	}
	said := ""
	var err error
	if g.timer, err = p.later(ctx, lasting, g.release); err == nil {
		said, err = do(ctx)
	}
	if err != nil {
		return nil, "", errors.Join(err, g.Recover(context.WithoutCancel(ctx)))
	}
	return &g, said, nil
}

// Recover undoes it and waits until nothing is left to undo. A container that is gone
// took it along.
func (g *grip) Recover(ctx context.Context) error {
	if _, err := g.undo(ctx); err != nil {
		return fmt.Errorf("undoing %s: %w", g.ref, err)
	}
	if g.timer != "" {
		if _, err := g.env.onNode(ctx, g.node, callOffScript, g.timer); err != nil {
			return fmt.Errorf("calling off the end of %s: %w", g.ref, err)
		}
	}
	if g.env.Journal != nil {
		return g.env.Journal.Done(g.ref)
	}
	return nil
}

// undo runs the release until it finds nothing any more, and tells whether it ever did.
func (g *grip) undo(ctx context.Context) (undone bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	last := errors.New("the node was not asked")
	err = wait.PollUntilContextCancel(ctx, pollEvery, true, func(ctx context.Context) (bool, error) {
		said, err := g.run(ctx, g.release)
		if err != nil {
			if ctx.Err() == nil {
				last = err
			}
			return false, nil // the deadline decides
		}
		if said = strings.TrimSpace(said); said != "" {
			undone, last = true, fmt.Errorf("it is still to be undone: %s", said)
		}
		return said == "", nil
	})
	if err != nil {
		return undone, last
	}
	return undone, nil
}

// released undoes a grip that a journal names, after the run that had it died.
func released(release string) undo {
	return func(ctx context.Context, r *recovery, ref Ref) (bool, error) {
		name, container, ok := strings.Cut(ref.Name, "/")
		if !ok {
			return false, fmt.Errorf("%s names no container", ref)
		}
		env := &Env{Config: r.config, Client: r.client, Chaos: r.chaos, Namespace: ref.Namespace, Container: container}
		p, err := env.place(ctx, name)
		if apierrors.IsNotFound(err) || errors.Is(err, errNotRunning) {
			return false, nil // it went with its process
		}
		if err != nil {
			return false, err
		}
		return (&grip{place: p, ref: ref, release: release}).undo(ctx)
	}
}
