package ops

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/vaultproof/vaultproof/pkg/target"
)

// journal reads what a device of one pod has recorded.
type journal struct {
	target *target.Target
	pod    string
	since  time.Time // what is older is not wanted; zero means all there is
}

// errOutOfReach means that records go where the runner cannot read them.
var errOutOfReach = errors.New("its records cannot be read from here")

// tailBytes is how much of a file is read if only its latest records are wanted.
const tailBytes = 4 << 20

const (
	// latestScript prints the end of the file $1, of $2 bytes, and that of the file
	// before it: there may have been a rotation just now.
	latestScript = `for f in "$1.1" "$1"; do [ ! -e "$f" ] || tail -c "$2" -- "$f" || exit 1; done`
	// wholeScript prints the file $1 and what was rotated away beside it, the newest
	// first: a rotation in between has a file read twice, and none left out. A pod
	// that was never active has no file. One that is there and cannot be read is an
	// error.
	wholeScript = `for f in "$1" "$1".*; do [ ! -e "$f" ] || cat -- "$f" || exit 1; done`
)

// read streams the records of a device into w: a file with what was rotated away
// beside it, or the log of Vault's container, that of its last life included.
func (j journal) read(ctx context.Context, d device, w io.Writer) error {
	switch {
	case d.stdout() && !j.since.IsZero():
		return j.containerLog(ctx, w, false)
	case d.stdout():
		err := j.containerLog(ctx, w, true)
		if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsBadRequest(err) { // these say that it had no earlier life
			return err
		}
		return j.containerLog(ctx, w, false)
	case d.file() != "" && !j.since.IsZero():
		return command{script: latestScript, args: []string{d.file(), strconv.Itoa(tailBytes)}, stdout: w}.run(ctx, j.target, j.pod)
	case d.file() != "":
		return command{script: wholeScript, args: []string{d.file()}, stdout: w}.run(ctx, j.target, j.pod)
	}
	return errOutOfReach
}

// containerLog streams the log of Vault's container into w. The kubelet gives its
// newest file alone.
func (j journal) containerLog(ctx context.Context, w io.Writer, previous bool) error {
	options := &corev1.PodLogOptions{Container: j.target.Container, Previous: previous}
	if !j.since.IsZero() {
		since := metav1.NewTime(j.since)
		options.SinceTime = &since
	}
	stream, err := j.target.Client.CoreV1().Pods(j.target.Namespace).GetLogs(j.pod, options).Stream(ctx)
	if err != nil {
		return fmt.Errorf("opening the log of container %s in pod %s: %w", j.target.Container, j.pod, err)
	}
	defer stream.Close()
	if _, err := io.Copy(w, stream); err != nil {
		return fmt.Errorf("reading the log of container %s in pod %s: %w", j.target.Container, j.pod, err)
	}
	return nil
}
