package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"
)

// What is expected of a door, and what is done to find out.
const (
	wantOpen = "open" // tried again until it opens
	wantShut = "shut" // tried again until it does not open
	wantNone = "try"  // tried once
)

// again is the pause between two tries at one door.
const again = 250 * time.Millisecond

// door is one address, what is expected of it, and how it was found.
type door struct {
	Address string `json:"address"`
	Want    string `json:"want"`
	// Open tells whether the last try opened a TCP connection; Error says why not.
	Open     bool   `json:"open"`
	Error    string `json:"error,omitempty"`
	Attempts int    `json:"attempts"`
	// Millis passed from the first try to the end of the last one.
	Millis int64 `json:"ms"`
}

// doors is what matrix prints, as one line of JSON.
type doors struct {
	Doors []door `json:"doors"`
}

// pace bounds one try, and all tries at one door.
type pace struct{ timeout, patience time.Duration }

// matrix tries the doors that args name and prints what it found. A NetworkPolicy may
// take a moment to know a new pod, and so may the pod's own network; so the doors that
// should be open come first, and what is shut counts only after them.
func matrix(ctx context.Context, out io.Writer, args []string) error {
	flags := flag.NewFlagSet("matrix", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	timeout := flags.Duration("timeout", time.Second, "")
	patience := flags.Duration("patience", 10*time.Second, "")
	if err := flags.Parse(args); err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	found, err := parseDoors(flags.Args())
	if err != nil {
		return err
	}
	p := pace{timeout: *timeout, patience: *patience}
	knockAll(ctx, p, found, func(d door) bool { return d.Want == wantOpen })
	knockAll(ctx, p, found, func(d door) bool { return d.Want != wantOpen })
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("trying %d addresses: %w", len(found), err)
	}
	if err := json.NewEncoder(out).Encode(doors{Doors: found}); err != nil {
		return fmt.Errorf("printing what was found: %w", err)
	}
	return nil
}

// parseDoors reads arguments such as open=10.1.2.3:8200.
func parseDoors(args []string) ([]door, error) {
	if len(args) == 0 {
		return nil, fmt.Errorf("%w: matrix wants addresses, such as open=10.1.2.3:8200", errUsage)
	}
	found := make([]door, 0, len(args))
	for _, arg := range args {
		want, address, _ := strings.Cut(arg, "=")
		if want != wantOpen && want != wantShut && want != wantNone {
			return nil, fmt.Errorf("%w: %q begins with none of open=, shut= and try=", errUsage, arg)
		}
		if _, _, err := net.SplitHostPort(address); err != nil {
			return nil, fmt.Errorf("%w: %q is no HOST:PORT", errUsage, address)
		}
		found = append(found, door{Address: address, Want: want})
	}
	return found, nil
}

// knockAll tries the chosen doors, all at once.
func knockAll(ctx context.Context, p pace, all []door, chosen func(door) bool) {
	var wait sync.WaitGroup
	for i := range all {
		if chosen(all[i]) {
			wait.Go(func() { all[i] = knock(ctx, p, all[i]) })
		}
	}
	wait.Wait()
}

// knock tries one door until it is found as expected, or patience is over.
func knock(ctx context.Context, p pace, d door) door {
	began := time.Now()
	tick := time.NewTicker(again)
	defer tick.Stop()
	for {
		err := opens(ctx, d.Address, p.timeout)
		d.Open, d.Error = err == nil, ""
		if err != nil {
			d.Error = err.Error()
		}
		d.Attempts++
		d.Millis = time.Since(began).Milliseconds()
		if d.Want == wantNone || d.Open == (d.Want == wantOpen) || time.Since(began) >= p.patience {
			return d
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return d
		}
	}
}

// opens is nil if a TCP connection opens.
func opens(ctx context.Context, address string, timeout time.Duration) error {
	conn, err := (&net.Dialer{Timeout: timeout}).DialContext(ctx, "tcp", address)
	if err != nil {
		// The address is known: what is left is why.
		var op *net.OpError
		if errors.As(err, &op) {
			return op.Err
		}
		return err
	}
	_ = conn.Close() // it did open
	return nil
}
