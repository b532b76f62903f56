package ops

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/vaultproof/vaultproof/pkg/target"
)

// closedTimes is when one pod's Vault was closed, by its sidecar's log.
type closedTimes struct {
	pod   string
	from  time.Time // the first line: nothing is known of before
	spans []span
}

// span is a time in which a Vault was closed. A zero end means that it still is.
type span struct{ from, to time.Time }

func (s span) holds(t time.Time) bool {
	return !t.Before(s.from.Add(-skew)) && (s.to.IsZero() || !t.After(s.to.Add(skew)))
}

// closedTimesOf reads the log of a pod's sidecar, and that of its last life.
func closedTimesOf(ctx context.Context, t *target.Target, pod *corev1.Pod) (closedTimes, error) {
	closed := closedTimes{pod: pod.Name}
	restarted := slices.ContainsFunc(slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses), func(c corev1.ContainerStatus) bool {
		return c.Name == t.SidecarContainer && c.RestartCount > 0
	})
	for _, previous := range []bool{true, false} {
		if previous && !restarted {
			continue
		}
		stream, err := t.Log(ctx, pod.Name, t.SidecarContainer, previous)
		if previous && (apierrors.IsNotFound(err) || apierrors.IsBadRequest(err)) {
			continue // removed from the node; from tells what is missing
		}
		if err != nil {
			return closed, err
		}
		err = closed.read(stream)
		stream.Close()
		if err != nil {
			return closed, fmt.Errorf("reading the sidecar's log of pod %s: %w", pod.Name, err)
		}
	}
	return closed, nil
}

// read takes the lines of one log: the kubelet's time and the sidecar's JSON.
func (c *closedTimes) read(r io.Reader) error {
	buffered := bufio.NewReader(r)
	for {
		line, err := buffered.ReadString('\n')
		stamp, text, _ := strings.Cut(line, " ")
		var entry struct {
			Message string `json:"msg"`
		}
		at, timeErr := time.Parse(time.RFC3339Nano, stamp)
		if timeErr == nil && json.Unmarshal([]byte(text), &entry) == nil {
			c.line(at, entry.Message)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// shareless are the states in which a sidecar has no use for shares: its Vault is
// open, or is to stay closed. In every other one it may need them, and so it may
// while it starts.
var shareless = []string{"unsealed", "provisioned", "serving", "held"}

func (c *closedTimes) line(at time.Time, message string) {
	if c.from.IsZero() {
		c.from = at
	}
	state, transition := strings.CutPrefix(message, "state ")
	switch {
	case message == "vault unsealed", transition && slices.Contains(shareless, state):
		c.end(at)
	case transition, message == "bootstrap sidecar started":
		c.begin(at)
	}
}

func (c *closedTimes) begin(at time.Time) {
	if n := len(c.spans); n == 0 || !c.spans[n-1].to.IsZero() {
		c.spans = append(c.spans, span{from: at})
	}
}

func (c *closedTimes) end(at time.Time) {
	if n := len(c.spans); n > 0 && c.spans[n-1].to.IsZero() {
		c.spans[n-1].to = at
	}
}
