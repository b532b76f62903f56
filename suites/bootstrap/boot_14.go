package bootstrap

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/onsi/ginkgo/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/probe"
	"github.com/vaultproof/vaultproof/pkg/target"
)

const (
	// rogueFor is how long a sidecar is left with a rogue beside it.
	rogueFor = 10 * time.Second
	// rogueFirst is how long it may take to try for the first time.
	rogueFirst = 30 * time.Second
)

var boot14 = conformance.Check{
	ID: "BOOT-14", Area: area, Level: conformance.Must, Manner: conformance.Beside,
	Assertion: "the unsealer only sends shares over verified TLS to its own pod",
	Source:    "vault-init, VAULT_SKIP_VERIFY; Vault's helm chart, -tls-skip-verify",
	Observe: "a twin of the Vault pods with a rogue listener of another CA in Vault's place: TLS handshakes that the sidecar tried, bytes that it sent; " +
		"the prober's own tests show that a client which trusts the rogue is heard",
	Timeout: twinStart + rogueFirst + rogueFor + 2*time.Minute,
}

var _ = conformance.It(boot14, conformance.Conformance, func(ctx ginkgo.SpecContext, r *conformance.Case) error {
	tw, err := startTwin(ctx, r, func(spec *corev1.PodSpec) { replaceVault(spec, r.Target.Container) })
	if err != nil {
		return err
	}
	if err := tw.awaitHandshakes(ctx); err != nil {
		return r.CannotTell(err)
	}
	timer := time.NewTimer(rogueFor)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return r.CannotTell(fmt.Errorf("leaving a rogue beside the sidecar: %w", context.Cause(ctx)))
	}
	heard, err := tw.heard(ctx)
	if err != nil {
		return r.CannotTell(err)
	}
	r.Measure("rogue_handshakes_total", float64(heard.Handshakes))
	r.Measure("rogue_bytes", float64(heard.ApplicationBytes))
	return toldNothing(heard)
})

// replaceVault puts a rogue in the place of Vault's container. What Vault needed (its
// probes, hooks and volumes) goes with it.
func replaceVault(spec *corev1.PodSpec, container string) {
	for i := range spec.Containers {
		c := &spec.Containers[i]
		if c.Name != container {
			continue
		}
		*c = corev1.Container{
			Name: c.Name, Image: probe.DefaultImage, ImagePullPolicy: corev1.PullIfNotPresent,
			Args:            []string{"rogue", "-listen", net.JoinHostPort("127.0.0.1", strconv.Itoa(target.VaultPort))},
			Resources:       c.Resources,
			SecurityContext: c.SecurityContext,
		}
	}
}

// rogueHeard is the part of what "prober rogue" prints that is judged.
type rogueHeard struct {
	Handshakes       int   `json:"handshakes"`
	Completed        int   `json:"completed"`
	ApplicationBytes int64 `json:"applicationBytes"`
}

func (tw *twin) heard(ctx context.Context) (rogueHeard, error) {
	log, err := containerLog(ctx, tw.target, tw.pod.Name, tw.target.Container, time.Time{})
	if err != nil {
		return rogueHeard{}, err
	}
	return lastHeard(log)
}

// lastHeard reads the last counts in the rogue's log, which has other lines too.
func lastHeard(log string) (rogueHeard, error) {
	var last *rogueHeard
	for line := range strings.Lines(log) {
		var counts struct {
			rogueHeard
			Connections *int `json:"connections"`
		}
		if json.Unmarshal([]byte(line), &counts) == nil && counts.Connections != nil {
			last = &counts.rogueHeard
		}
	}
	if last == nil {
		return rogueHeard{}, errors.New("the rogue has printed no counts: is its image of this version?")
	}
	return *last, nil
}

// awaitHandshakes waits until the sidecar has tried the rogue.
func (tw *twin) awaitHandshakes(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, rogueFirst)
	defer cancel()
	seen := errors.New("its log was not read")
	err := wait.PollUntilContextCancel(ctx, lookEvery, true, func(ctx context.Context) (bool, error) {
		heard, err := tw.heard(ctx)
		if err != nil {
			if ctx.Err() == nil {
				seen = err
			}
			return false, nil // the deadline decides
		}
		seen = fmt.Errorf("it has seen %d handshakes and %d bytes", heard.Handshakes, heard.ApplicationBytes)
		return heard.Handshakes > 0 || heard.ApplicationBytes > 0, nil
	})
	if err != nil {
		return fmt.Errorf("in %s the sidecar in pod %s did not try the rogue on %d, so what it would tell it is not shown: %w", rogueFirst, tw.pod.Name, target.VaultPort, seen)
	}
	return nil
}

// toldNothing judges what the rogue was sent.
func toldNothing(h rogueHeard) error {
	switch {
	case h.ApplicationBytes > 0:
		return fmt.Errorf("the sidecar sent %d bytes to a listener whose certificate is of another CA (%d of %d handshakes completed), want none: it would give that listener the shares", h.ApplicationBytes, h.Completed, h.Handshakes)
	case h.Completed > 0:
		return fmt.Errorf("the sidecar accepted the certificate of another CA in %d of %d handshakes, want none", h.Completed, h.Handshakes)
	case h.Handshakes == 0:
		return errors.New("the sidecar began no handshake, so that it verifies is not shown")
	}
	return nil
}
