package ops

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/vaultproof/vaultproof/pkg/target"
)

// breakScript puts a folder where the file of an audit device is, and has Vault open
// its files anew (SIGHUP to process 1), which then fails: the same as a file that
// cannot be written. It heals when its input ends or brings a line, or after $2
// seconds: should the run die, so does the fault. The records of the file are kept.
const breakScript = `
heal() { rmdir "$1"; mv "$1.vaultproof" "$1" && kill -HUP 1; }
if [ -e "$1.vaultproof" ]; then echo "$1.vaultproof is left from an earlier run" >&2; exit 3; fi
mv "$1" "$1.vaultproof" || exit 4
mkdir "$1" && kill -HUP 1 || { heal "$1"; exit 5; }
echo broken
read -r -t "$2" _
heal "$1" || exit 6
echo healed`

// brokenFile is an audit file that is being kept from Vault.
type brokenFile struct {
	end    *io.PipeWriter // closing it heals
	words  chan string    // what the script says; closed when it is over
	failed error          // how it ended, once words is closed
	healed bool
}

// breakFile breaks a file for at most that many seconds.
func breakFile(ctx context.Context, t *target.Target, pod, file string, seconds int) (*brokenFile, error) {
	in, end := io.Pipe()
	b := &brokenFile{end: end}
	b.follow(func(said io.Writer) error {
		defer in.Close()
		return command{script: breakScript, args: []string{file, strconv.Itoa(seconds)}, stdin: in, stdout: said}.run(context.WithoutCancel(ctx), t, pod)
	})
	if err := b.await(ctx, "broken"); err != nil {
		end.Close()
		return nil, fmt.Errorf("breaking the audit file %s in pod %s: %w", file, pod, err)
	}
	return b, nil
}

// follow runs the script aside and passes its words on.
func (b *brokenFile) follow(script func(said io.Writer) error) {
	b.words = make(chan string, 4) // it says two
	out, said := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := script(said)
		said.Close()
		ended <- err
	}()
	go func() {
		defer close(b.words)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			b.words <- strings.TrimSpace(lines.Text())
		}
		b.failed = <-ended
	}()
}

// await waits until the script says so.
func (b *brokenFile) await(ctx context.Context, word string) error {
	for {
		select {
		case said, going := <-b.words:
			if said == word {
				return nil
			}
			if !going {
				return errors.Join(errors.New("the script ended before it said "+word), b.failed)
			}
		case <-ctx.Done():
			return fmt.Errorf("the script did not say %s: %w", word, ctx.Err())
		}
	}
}

// heal gives Vault its file back, and waits until that is done. It can be repeated.
func (b *brokenFile) heal(ctx context.Context) error {
	if b.healed {
		return nil
	}
	b.end.Close()
	if err := b.await(ctx, "healed"); err != nil {
		return fmt.Errorf("giving Vault its audit file back: %w", err)
	}
	b.healed = true
	return nil
}
