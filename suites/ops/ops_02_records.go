package ops

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"github.com/vaultproof/vaultproof/pkg/leak"
)

// mark is a request of our own in the audit log.
type mark struct {
	name   string // in the path, which is recorded as it is
	secret []byte // its value, which must not be
	// hmac of the value by device, as Vault itself computes it.
	hmac map[string]string
}

// plant writes a secret that nobody else knows where only our own token sees it.
func (c clearText) plant(ctx context.Context) (mark, error) {
	m := mark{name: canaryName(), secret: []byte(rand.Text()), hmac: map[string]string{}}
	path := "cubbyhole/" + m.name
	if _, err := c.root.Logical().WriteWithContext(ctx, path, map[string]any{"value": string(m.secret)}); err != nil {
		return m, fmt.Errorf("writing a canary to %s: %w", path, err)
	}
	list, err := devices(ctx, c.root)
	if err != nil {
		return m, err
	}
	for _, d := range list {
		if m.hmac[d.path], err = c.root.Sys().AuditHashWithContext(ctx, d.path, string(m.secret)); err != nil {
			return m, fmt.Errorf("asking audit device %s for the hash of a canary: %w", d, err)
		}
	}
	return m, nil
}

// recordsOf is what was found in the records of one device on one pod.
type recordsOf struct {
	scanned
	device, pod string
	marked      []string // lines that name the mark
	// begins tells whether a container's log has its beginning, and first is the
	// time of its first record.
	begins bool
	first  string
}

// search is all that was found, and what was not seen.
type search struct {
	records []recordsOf
	// unread are devices whose records cannot be read, with the reason; cut are logs
	// of which only the end is there.
	unread, cut []string
}

// Why a search shows nothing, though it found nothing.
var (
	errUnread = errors.New("not all records could be read")
	errGap    = errors.New("what was searched is not the audit log, or it has a gap")
)

// judge judges what was found.
func (s search) judge(m mark) error {
	if err := unreadable(s.records, m); err != nil {
		return err
	}
	if len(s.unread) > 0 {
		return fmt.Errorf("no secret is in what could be read, but %w: %s", errUnread, strings.Join(s.unread, "; "))
	}
	if len(s.records) == 0 {
		return fmt.Errorf("%w: there is no Vault pod", errUnread)
	}
	return nil
}

// search streams the records of every device of every pod through a scanner that
// knows custody's secrets, the canary and our own token.
func (c clearText) search(ctx context.Context, list []device, m mark) (search, error) {
	var s search
	scanner, err := leak.New(append(slices.Clone(c.needles),
		leak.Needle{Name: "canary", Value: m.secret}, leak.Needle{Name: "root-token of this check", Value: []byte(c.root.Token())})...)
	if err != nil {
		return s, fmt.Errorf("preparing to look for secrets: %w", err)
	}
	if err := scanner.SelfTest(); err != nil {
		return s, fmt.Errorf("the scanner failed its positive control: %w", err)
	}
	pods, err := c.r.Target.Pods(ctx)
	if err != nil {
		return s, err
	}
	for _, d := range list {
		for _, pod := range pods {
			j := journal{target: c.r.Target, pod: pod.Name}
			records, err := scanRecords(scanner, m.name, func(w io.Writer) error { return j.read(ctx, d, w) })
			if errors.Is(err, errOutOfReach) {
				s.unread = append(s.unread, fmt.Sprintf("audit device %s: %v", d, errOutOfReach))
				break // on every pod
			}
			if err != nil {
				return s, fmt.Errorf("the records of audit device %s on pod %s: %w", d, pod.Name, err)
			}
			records.device, records.pod = d.path, pod.Name
			if d.stdout() && !records.begins {
				s.cut = append(s.cut, fmt.Sprintf("the log of container %s in pod %s begins at %q: what the kubelet rotated away of audit device %s was not searched",
					c.r.Target.Container, pod.Name, records.first, d))
			}
			s.records = append(s.records, records)
		}
	}
	return s, nil
}

// banner begins what Vault prints when it starts, whatever its log's form is.
const banner = "==> Vault server configuration"

// recordTime is the time of a record, or of a line of Vault's log.
var recordTime = regexp.MustCompile(`"(?:@timestamp|time)":"([^"]+)"`)

// scanRecords scans what read writes, without holding it.
func scanRecords(scanner *leak.Scanner, name string, read func(io.Writer) error) (recordsOf, error) {
	records, marked, started := recordsOf{}, mentions{word: name}, mentions{word: banner}
	out, in := io.Pipe()
	go func() { in.CloseWithError(read(in)) }()
	var err error
	records.scanned, err = scan(scanner, "its records", out, marked.look, started.look, func(line []byte) {
		if records.first == "" {
			if m := recordTime.FindSubmatch(line); m != nil {
				records.first = string(m[1])
			}
		}
	})
	out.Close() // ends read, should the scan have failed
	records.marked, records.begins = marked.lines, len(started.lines) > 0
	return records, err
}

// unreadable judges the records: no secret, and the canary where it belongs, with
// the hash that Vault itself gives for it.
func unreadable(all []recordsOf, m mark) error {
	var words []string
	seen := map[string]bool{} // devices in which the canary is
	for _, rec := range all {
		place := fmt.Sprintf("the records of audit device %s on pod %s", rec.device, rec.pod)
		for _, f := range rec.found {
			words = append(words, fmt.Sprintf("%s in %s", f, place))
		}
		if len(rec.found) == 0 && rec.tokens > 0 {
			words = append(words, fmt.Sprintf("something of a Vault token's form in %d lines of %s", rec.tokens, place))
		}
		for _, line := range rec.marked {
			if hash := m.hmac[rec.device]; hash != "" && strings.Contains(line, hash) {
				seen[rec.device] = true
			}
		}
	}
	if len(words) > 0 {
		return fmt.Errorf("secrets are in the audit log: %s; want only their HMACs (audit/index.mdx)", strings.Join(words, "; "))
	}
	for _, rec := range all {
		if !seen[rec.device] {
			return fmt.Errorf("no pod's record of audit device %s holds the canary request with its HMAC: %w", rec.device, errGap)
		}
	}
	return nil
}
