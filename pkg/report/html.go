package report

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/vaultproof/vaultproof/pkg/timeline"
)

//go:embed page
var pageFiles embed.FS

// page is what the template shows. All words are made here, so that the
// template only places them.
type page struct {
	Report *Report
	Title  string
	Lead   string
	Why    []string // what stands in the way of a certificate
	Notes  []string // worth knowing, but not in the way
	Tally  tally
	Tiles  []tile
	Facts  []fact
	Nodes  string
	Images []fact
	// Found and Unseen are about a Vault that others installed.
	Found, Unseen []fact
	Areas         []areaView
	Faults        []trialsView
	Trials        int // in all
	Baseline      *baselineView
	Chart         *chart
	// Jumps are the faults to choose from in a list, where there are too many
	// for a button each.
	Jumps []Trials
	// Pictures are the files beside the page that draw a key without a linear
	// order.
	Pictures []string
	Started  string
	Duration string
	Style    template.CSS
	Scripts  []template.JS
}

type fact struct{ Name, Value string }

// facts are in the order of their names.
func facts(of map[string]string) []fact {
	var all []fact
	for _, name := range slices.Sorted(maps.Keys(of)) {
		all = append(all, fact{name, of[name]})
	}
	return all
}

type areaView struct {
	Name   string
	Tally  tally
	Checks []checkView
}

type checkView struct {
	Check
	Mark         string // the status as a sign, so that colour is not all
	Took         string
	Measurements []fact
	Single       []fact // measurements of single trials, of which there may be hundreds
}

// writeHTML renders the page. It refers to nothing outside itself.
func writeHTML(b *bytes.Buffer, r *Report, events []timeline.Event) error {
	parsed, err := template.New("page.gohtml").Funcs(template.FuncMap{
		"count": count,
		// The page has six colours for pods; more pods share them.
		"colour": func(pod int) int { return pod % 6 },
	}).ParseFS(pageFiles, "page/page.gohtml")
	if err != nil {
		return fmt.Errorf("parsing the page's template: %w", err)
	}
	p := pageOf(r, events)
	style, err := pageFiles.ReadFile("page/page.css")
	if err != nil {
		return err
	}
	p.Style = template.CSS(style)
	for _, name := range []string{"page/page.js", "page/axis.js", "page/draw.js", "page/input.js"} {
		script, err := pageFiles.ReadFile(name)
		if err != nil {
			return err
		}
		p.Scripts = append(p.Scripts, template.JS(script))
	}
	return parsed.Execute(b, p)
}

func pageOf(r *Report, events []timeline.Event) page {
	p := page{
		Report: r, Title: r.Verdict.title(), Tally: tallyOf(r.Checks),
		Chart:    chartOf(r, events),
		Facts:    factsOf(r),
		Nodes:    nodesOf(r.Target.Nodes),
		Faults:   trialViews(r.Faults),
		Trials:   len(r.Faults),
		Baseline: baselineViewOf(r.Baseline),
		Pictures: pictures(r.dir),
		Started:  r.Started.UTC().Format("2 January 2006, 15:04 UTC"),
		Duration: span(float64(r.Ended.Sub(r.Started).Milliseconds())),
	}
	if len(r.Faults) > maxJumps {
		p.Jumps = TrialsOf(r.Faults)
	}
	p.Why = r.Reasons
	if r.Verdict == Certified {
		p.Why, p.Notes = nil, r.Reasons
	}
	p.Lead = leadOf(r, p.Tally)
	p.Tiles = tilesOf(r, p.Tally, p.Chart)
	p.Images, p.Found, p.Unseen = facts(r.Target.Images), facts(r.Target.Found), facts(r.Target.Unseen)
	for _, g := range byArea(r.Checks) {
		a := areaView{Name: areaTitle(g.Area), Tally: tallyOf(g.Checks)}
		for _, c := range g.Checks {
			a.Checks = append(a.Checks, checkViewOf(c))
		}
		p.Areas = append(p.Areas, a)
	}
	return p
}

// maxJumps is how many faults get a button each.
const maxJumps = 8

// picturePattern is what the files that draw a violation are called.
const picturePattern = "violation*.html"

// pictures are the names of those in the run's directory.
func pictures(dir string) []string {
	var names []string
	if dir == "" {
		return nil
	}
	paths, _ := filepath.Glob(filepath.Join(dir, picturePattern)) // the pattern is sound
	for _, path := range paths {
		names = append(names, filepath.Base(path))
	}
	return names
}

// leadOf is the one sentence under the verdict.
func leadOf(r *Report, t tally) string {
	switch r.Verdict {
	case Certified:
		s := fmt.Sprintf("%d of %s passed", t.Passed, count(t.All, "check"))
		if t.Passed == t.All {
			s = "Every check passed"
		}
		if n := len(r.Faults); n > 0 {
			s += fmt.Sprintf(", %s proved to have hit, and no acknowledged write was lost", count(n, "fault"))
		}
		return s + "."
	case NotCertified:
		if own, _ := failed(r); len(own) == 0 {
			return "Every promise was kept, but not as well as in the run that this one was compared with."
		}
		return "Vault broke a promise that it must keep."
	case Infrastructure:
		return "The cluster or the tooling failed; this says nothing about Vault."
	default:
		return "Nothing broke, but not enough was proved to certify."
	}
}

func factsOf(r *Report) []fact {
	var facts []fact
	add := func(name, value string) {
		if value != "" {
			facts = append(facts, fact{name, value})
		}
	}
	add("Cluster", r.Target.Cluster)
	add("Vault", r.Target.VaultVersion)
	add("Kubernetes", r.Target.KubernetesVersion)
	add("Namespace", r.Target.Namespace)
	add("Profile", r.Profile)
	add("Seed", fmt.Sprint(r.Seed))
	add("Run", r.RunID)
	add("Time", r.Started.UTC().Format(time.TimeOnly)+" – "+r.Ended.UTC().Format(time.TimeOnly)+" UTC")
	return facts
}

// nodesOf lists the nodes, one a line.
func nodesOf(nodes []Node) string {
	var lines []string
	for _, n := range nodes {
		about := n.Role
		if n.Zone != "" {
			about += ", " + n.Zone
		}
		lines = append(lines, fmt.Sprintf("%s (%s)", n.Name, about))
	}
	return strings.Join(lines, "\n")
}

// areaTitle is an area's name as a heading.
func areaTitle(area string) string {
	if area == "tls" || area == "" {
		return strings.ToUpper(area)
	}
	return strings.ToUpper(area[:1]) + area[1:]
}

func checkViewOf(c Check) checkView {
	v := checkView{Check: c, Mark: marks[c.Status]}
	if v.Mark == "" {
		v.Check.Status, v.Mark = Inconclusive, marks[Inconclusive]
	}
	if c.Seconds > 0 {
		v.Took = span(c.Seconds * 1000)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Measurements)) {
		m := measured(name, c.Measurements[name])
		if trialName.MatchString(name) {
			v.Single = append(v.Single, m)
		} else {
			v.Measurements = append(v.Measurements, m)
		}
	}
	return v
}

// trialName is how a measurement of one trial of several is called.
var trialName = regexp.MustCompile(`^trial[0-9]+_`)

var marks = map[Status]string{Passed: "✓", Failed: "✕", Skipped: "–", Inconclusive: "?"}
