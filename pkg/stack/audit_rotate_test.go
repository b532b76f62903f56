package stack

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
)

const (
	// fullAudit is the size in bytes at which the container puts the audit file aside.
	fullAudit = 64 << 20
	// keptAudits is how many old ones it keeps.
	keptAudits = 4
	// stopWithin is how long a Vault that is not active may take to stop on a busy machine.
	stopWithin = 5 * time.Second
)

// TestTheAuditFileIsRotatedWithoutLosingARecord runs the container of the manifests with
// the real Vault, whose requests are numbered.
func TestTheAuditFileIsRotatedWithoutLosingARecord(t *testing.T) {
	p := startPodVault(t)
	if !p.awaitServedAny(time.Minute) {
		t.Fatal("Vault does not answer")
	}
	token := p.open()
	ctx, stop := context.WithCancel(t.Context())
	sent := make(chan int)
	go func() { sent <- p.number(ctx, token) }()
	for range keptAudits + 2 {
		if err := os.Truncate(p.audit(), fullAudit); err != nil { // which makes it longer
			t.Fatal(err)
		}
		if !begunAnew(t.Context(), p.audit()) {
			t.Fatalf("a full audit file was not replaced within %s", reloadWithin)
		}
	}
	stop()
	last := <-sent
	recorded, first := map[int]bool{}, last
	files := []string{p.audit()}
	for n := range keptAudits {
		files = append(files, fmt.Sprintf("%s.%d", p.audit(), n+1))
	}
	for _, file := range files {
		for _, n := range numbers(t, file) {
			recorded[n], first = true, min(first, n)
		}
	}
	for n := first; n < last; n++ {
		if !recorded[n] {
			t.Errorf("request %d is in none of %v", n, files)
		}
	}
	t.Logf("%d requests, recorded from %d on", last, first)
	if first == 0 || len(recorded) < 2 {
		t.Errorf("%d requests are recorded from %d on, want the first ones gone with the oldest file", len(recorded), first)
	}
	if _, err := os.Stat(fmt.Sprintf("%s.%d", p.audit(), keptAudits+1)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("more than %d old files are kept (%v)", keptAudits, err)
	}
}

// number sends numbered requests one after the other until ctx ends, and returns the
// number of the first that was not sent.
func (p *podVault) number(ctx context.Context, token string) int {
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{TLSClientConfig: p.trust()}}
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return n
		case <-time.After(5 * time.Millisecond):
		}
		if err := put(client, p.address, token, fmt.Sprintf("cubbyhole/numbered/%d", n)); err != nil {
			p.t.Errorf("request %d: %v", n, err)
		}
	}
}

// begunAnew waits until the file is a small one, and has something in it.
func begunAnew(ctx context.Context, file string) bool {
	ctx, cancel := context.WithTimeout(ctx, reloadWithin)
	defer cancel()
	for {
		info, err := os.Stat(file)
		if err == nil && info.Size() > 0 && info.Size() < fullAudit {
			return true
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return false
		}
	}
}

var numbered = regexp.MustCompile(`"path":"cubbyhole/numbered/([0-9]+)"`)

// numbers are those of the requests in an audit file.
func numbers(t *testing.T, file string) (all []int) {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, match := range numbered.FindAllSubmatch(content, -1) {
		n, err := strconv.Atoi(string(match[1]))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, n)
	}
	return all
}

// TestTheContainerStopsAtOnce: Vault is the first process of its container, as here of a
// process namespace, and what watches its files beside it holds nobody up.
func TestTheContainerStopsAtOnce(t *testing.T) {
	p := startPodVault(t, func(c *exec.Cmd) {
		c.SysProcAttr.Cloneflags = syscall.CLONE_NEWPID
		if os.Getuid() != 0 {
			c.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
			c.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: os.Getuid(), HostID: os.Getuid(), Size: 1}}
			c.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: os.Getgid(), HostID: os.Getgid(), Size: 1}}
		}
	})
	if !p.awaitServedAny(time.Minute) {
		t.Fatal("Vault does not answer")
	}
	if !p.awaitServed(p.rotate(), reloadWithin) {
		t.Fatal("the first process of a container is not told of a new certificate")
	}
	start := time.Now()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-p.ended:
	case <-time.After(stopWithin):
		t.Fatalf("Vault still runs %s after SIGTERM", stopWithin)
	}
	t.Logf("stopped after %s", time.Since(start).Round(time.Millisecond))
	if err := syscall.Kill(-p.cmd.Process.Pid, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("something of the container is left when Vault has ended (%v)", err)
	}
}

// TestTheAuditVolumeHoldsWhatIsKept compares the numbers of the manifests with each other.
func TestTheAuditVolumeHoldsWhatIsKept(t *testing.T) {
	pod := typed(t, rendered(t), "StatefulSet", statefulSetName, &appsv1.StatefulSet{}).Spec.Template.Spec
	if script := vaultCommand(t, pod)[2]; !strings.Contains(script, strconv.Itoa(fullAudit)) {
		t.Errorf("the container does not put its audit file aside at %d bytes", fullAudit)
	}
	volume := pod.Volumes[slices.IndexFunc(pod.Volumes, func(v corev1.Volume) bool { return v.Name == "audit" })].EmptyDir
	if volume == nil || volume.SizeLimit == nil || volume.SizeLimit.Value() < 2*(1+keptAudits)*fullAudit {
		t.Errorf("the audit volume is %+v, want a limit of twice what is kept", volume)
	}
	sidecar := pod.Containers[slices.IndexFunc(pod.Containers, func(c corev1.Container) bool { return c.Name == "bootstrap" })]
	at := slices.IndexFunc(sidecar.Env, func(e corev1.EnvVar) bool { return e.Name == "AUDIT_FILES" })
	if at < 0 || len(strings.Split(sidecar.Env[at].Value, ",")) < 2 || !strings.HasPrefix(sidecar.Env[at].Value, "/vault/audit/audit.log,") {
		t.Error("the sidecar is not told of two audit devices, the first of which is the file that is rotated")
	}
}
