package isolation

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
)

// What is expected of a door; the words are those of "prober matrix".
const (
	open = "open"
	shut = "shut"
	try  = "try" // nothing is expected: it is only tried
)

// door is one address that a guest tries to connect to.
type door struct {
	to      string // what is there, for messages
	address string // HOST:PORT
	want    string
}

func doorTo(to, host string, port int32, want string) door {
	return door{to: to, address: net.JoinHostPort(host, strconv.Itoa(int(port))), want: want}
}

// found is a door as a guest found it.
type found struct {
	door
	guest string // who tried it, for messages
	on    string // IP of the guest's node
	report
}

// report is what the prober says of one door, as JSON.
type report struct {
	Address  string `json:"address"`
	Want     string `json:"want"`
	Open     bool   `json:"open"`
	Error    string `json:"error"`
	Attempts int    `json:"attempts"`
	Millis   int64  `json:"ms"`
}

// parseReports reads the log of a prober that tried doors. Its line of JSON is the last
// that has doors.
func parseReports(log string) ([]report, error) {
	var said struct {
		Doors []report `json:"doors"`
	}
	lines := strings.Split(strings.TrimSpace(log), "\n")
	for _, line := range slices.Backward(lines) {
		if json.Unmarshal([]byte(line), &said) == nil && len(said.Doors) > 0 {
			return said.Doors, nil
		}
	}
	return nil, fmt.Errorf("the prober did not say what it found, its log is %.300q", log)
}

// match joins what was asked of a guest with what it found. Every door must be there.
func match(doors []door, reports []report) ([]found, error) {
	all := make([]found, 0, len(doors))
	for _, d := range doors {
		at := slices.IndexFunc(reports, func(r report) bool { return r.Address == d.address && r.Want == d.want })
		if at < 0 {
			return nil, fmt.Errorf("the prober said nothing of %s (%s)", d.to, d.address)
		}
		all = append(all, found{door: d, report: reports[at]})
	}
	return all, nil
}

// trespass judges the doors that must be shut: no guest may have opened one. policies
// says what should have kept them shut.
func trespass(all []found, policies string) error {
	var through []string
	for _, f := range all {
		if f.want == shut && f.Open {
			through = append(through, fmt.Sprintf("%s (%s) opens to %s, at all of %d attempts in %d ms", f.to, f.address, f.guest, f.Attempts, f.Millis))
		}
	}
	if len(through) == 0 {
		return nil
	}
	return fmt.Errorf("want every one of these shut: %s; %s", strings.Join(through, "; "), policies)
}

// alive makes sure that shut doors show something: the same guests come through where
// they may. An error means that nothing can be told.
func alive(all []found) error {
	var dead []string
	controls := 0
	for _, f := range all {
		if f.want != open {
			continue
		}
		controls++
		if !f.Open {
			dead = append(dead, fmt.Sprintf("%s does not reach %s (%s) after %d attempts in %d ms: %s", f.guest, f.to, f.address, f.Attempts, f.Millis, f.Error))
		}
	}
	switch {
	case controls == 0:
		return errors.New("no guest was to reach anything, so doors that are shut may be those of a dead network")
	case len(dead) > 0:
		return fmt.Errorf("doors that are shut show nothing while those are too that must be open: %s", strings.Join(dead, "; "))
	}
	return nil
}

// count returns how many doors were found as wanted, for the report.
func count(all []found, want string) (n int) {
	for _, f := range all {
		if f.want == want && f.Open == (want == open) {
			n++
		}
	}
	return n
}
