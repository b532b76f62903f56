package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// captureTick is how long the socket waits before what was counted is printed.
	captureTick = 200 * time.Millisecond
	// maxPacket is more than any packet, those that the kernel has joined included.
	maxPacket = 256 << 10
)

// captured is what was seen of one pod's traffic. What was looked for is named, not shown.
type captured struct {
	Interface string         `json:"interface"` // empty: all of the node
	Packets   int64          `json:"packets"`
	Bytes     int64          `json:"bytes"` // of TCP payload
	Found     map[string]int `json:"found"`
}

// capture prints, as a line of JSON each time they change, how much passes to and from a
// pod on this node, and how often each text is in it in clear. It needs the node's network
// and CAP_NET_RAW.
func capture(ctx context.Context, out io.Writer, args []string) error {
	flags := flag.NewFlagSet("capture", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	ip := flags.String("ip", "", "")
	texts := map[string][]byte{}
	flags.Func("find", "", func(value string) error {
		name, text, ok := strings.Cut(value, "=")
		if !ok || name == "" || text == "" {
			return errors.New("-find wants NAME=TEXT")
		}
		texts[name] = []byte(text)
		return nil
	})
	if err := flags.Parse(args); err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	pod, err := netip.ParseAddr(*ip)
	if err != nil || len(texts) == 0 {
		return fmt.Errorf("%w: capture wants -ip ADDRESS and at least one -find NAME=TEXT", errUsage)
	}
	name, err := interfaceTo(pod)
	if err != nil {
		return err
	}
	socket, err := openCapture(name)
	if err != nil {
		return err
	}
	defer unix.Close(socket)
	return watchPackets(ctx, socket, newSeeker(pod, name, texts), out)
}

// openCapture opens a socket that gets a copy of each packet of an interface, or of all.
func openCapture(name string) (int, error) {
	// In network byte order, as the socket has always wanted it.
	all := binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, unix.ETH_P_ALL))
	socket, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, int(all))
	if err != nil {
		return 0, fmt.Errorf("opening a packet socket, which takes CAP_NET_RAW: %w", err)
	}
	index := 0
	if name != "" {
		link, err := net.InterfaceByName(name)
		if err != nil {
			return 0, errors.Join(fmt.Errorf("looking for interface %s: %w", name, err), unix.Close(socket))
		}
		index = link.Index
	}
	wait := unix.NsecToTimeval(int64(captureTick))
	err = errors.Join(
		unix.SetsockoptTimeval(socket, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait),
		unix.Bind(socket, &unix.SockaddrLinklayer{Protocol: all, Ifindex: index}))
	if err != nil {
		return 0, errors.Join(fmt.Errorf("listening on interface %q: %w", name, err), unix.Close(socket))
	}
	return socket, nil
}

// watchPackets reads until ctx is done.
func watchPackets(ctx context.Context, socket int, seek *seeker, out io.Writer) error {
	buffer := make([]byte, maxPacket)
	printed := int64(-1)
	for ctx.Err() == nil {
		n, _, err := unix.Recvfrom(socket, buffer, 0)
		quiet := errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR)
		if err != nil && !quiet {
			return fmt.Errorf("reading packets: %w", err)
		}
		if err == nil {
			seek.packet(buffer[:n])
		}
		if seek.seen.Packets == printed || !quiet && !seek.due() {
			continue
		}
		printed = seek.seen.Packets
		if err := json.NewEncoder(out).Encode(seek.seen); err != nil {
			return fmt.Errorf("printing what was captured: %w", err)
		}
	}
	return nil
}

// interfaceTo names the interface that leads to one pod alone: networks that route to
// pods have a route for each. Empty where there is none, and all interfaces are to be
// watched.
func interfaceTo(pod netip.Addr) (string, error) {
	if !pod.Is4() {
		return "", nil
	}
	file, err := os.Open("/proc/net/route")
	if err != nil {
		return "", fmt.Errorf("reading the routes of the node: %w", err)
	}
	defer file.Close()
	return hostRoute(file, pod)
}

// hostRoute finds the interface of the route to exactly pod in the kernel's table, where
// addresses are hexadecimal in the machine's byte order.
func hostRoute(table io.Reader, pod netip.Addr) (string, error) {
	var want [4]byte
	binary.NativeEndian.PutUint32(want[:], binary.BigEndian.Uint32(pod.AsSlice()))
	destination := strings.ToUpper(hex.EncodeToString(want[:]))
	lines := bufio.NewScanner(table)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) > 7 && fields[1] == destination && fields[7] == "FFFFFFFF" {
			return fields[0], nil
		}
	}
	if err := lines.Err(); err != nil {
		return "", fmt.Errorf("reading the routes of the node: %w", err)
	}
	return "", nil
}
