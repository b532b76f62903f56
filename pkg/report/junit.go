package report

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"
)

type junitSuites struct {
	XMLName  xml.Name     `xml:"testsuites"`
	Name     string       `xml:"name,attr"`
	Tests    int          `xml:"tests,attr"`
	Failures int          `xml:"failures,attr"`
	Errors   int          `xml:"errors,attr"`
	Skipped  int          `xml:"skipped,attr"`
	Time     string       `xml:"time,attr"`
	Suites   []junitSuite `xml:"testsuite"`
}

type junitSuite struct {
	Name       string          `xml:"name,attr"`
	Tests      int             `xml:"tests,attr"`
	Failures   int             `xml:"failures,attr"`
	Errors     int             `xml:"errors,attr"`
	Skipped    int             `xml:"skipped,attr"`
	Time       string          `xml:"time,attr"`
	Timestamp  string          `xml:"timestamp,attr"`
	Properties []junitProperty `xml:"properties>property"`
	Cases      []junitCase     `xml:"testcase"`
}

type junitProperty struct {
	Name  string `xml:"name,attr"`
	Value string `xml:"value,attr"`
}

type junitCase struct {
	Name       string           `xml:"name,attr"`
	Class      string           `xml:"classname,attr"`
	Time       string           `xml:"time,attr"`
	Properties *junitProperties `xml:"properties"`
	Failure    *junitMessage    `xml:"failure"`
	Error      *junitMessage    `xml:"error"`
	Skipped    *junitMessage    `xml:"skipped"`
}

type junitProperties struct {
	List []junitProperty `xml:"property"`
}

type junitMessage struct {
	Message string `xml:"message,attr"`
	Type    string `xml:"type,attr,omitempty"`
	Text    string `xml:",chardata"`
}

// writeJUnit writes one suite per area and one case per check. An
// inconclusive check is an error there: JUnit has no word for it, and a
// pipeline must not take it for a pass.
func writeJUnit(b *bytes.Buffer, r *Report) error {
	all := junitSuites{Name: "vaultproof " + r.Profile, Time: seconds(r.Ended.Sub(r.Started).Seconds())}
	for _, group := range byArea(r.Checks) {
		all.Suites = append(all.Suites, junitArea(r, group))
	}
	for _, s := range all.Suites {
		all.Tests += s.Tests
		all.Failures += s.Failures
		all.Errors += s.Errors
		all.Skipped += s.Skipped
	}
	b.WriteString(xml.Header)
	enc := xml.NewEncoder(b)
	enc.Indent("", "  ")
	if err := enc.Encode(all); err != nil {
		return err
	}
	b.WriteByte('\n')
	return nil
}

func junitArea(r *Report, group areaGroup) junitSuite {
	s := junitSuite{
		Name:      group.Area,
		Tests:     len(group.Checks),
		Timestamp: r.Started.UTC().Format(time.RFC3339),
		Properties: []junitProperty{
			{"runId", r.RunID}, {"profile", r.Profile}, {"seed", strconv.FormatInt(r.Seed, 10)}, {"verdict", string(r.Verdict)},
		},
	}
	total := 0.0
	for _, c := range group.Checks {
		kase := junitCase{Name: c.ID + " " + c.Assertion, Class: c.Area, Time: seconds(c.Seconds)}
		total += c.Seconds
		properties := []junitProperty{{"level", c.Level}}
		for _, name := range slices.Sorted(maps.Keys(c.Measurements)) {
			properties = append(properties, junitProperty{name, strconv.FormatFloat(c.Measurements[name], 'f', -1, 64)})
		}
		kase.Properties = &junitProperties{properties}
		message := &junitMessage{Message: sentence(saw(c)), Text: c.Reason}
		switch c.Status {
		case Passed:
		case Failed:
			message.Type = c.Level
			kase.Failure = message
			s.Failures++
		case Skipped:
			kase.Skipped = message
			s.Skipped++
		default:
			message.Type = string(Inconclusive)
			kase.Error = message
			s.Errors++
		}
		s.Cases = append(s.Cases, kase)
	}
	s.Time = seconds(total)
	return s
}

func seconds(s float64) string {
	return fmt.Sprintf("%.3f", max(0, s))
}
