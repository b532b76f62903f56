package report

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/vaultproof/vaultproof/pkg/timeline"
)

var (
	sampleDir = flag.String("sample", "", "also write the sample report into this directory, to look at")
	browser   = flag.String("browser", "", "a Chromium to draw the page with")
)

const sampleLength = 10 * time.Minute

// violation is the picture of a key without a linear order.
const violation = "violation.html"

// parsed returns the page as a browser would read it. A picture of a violation
// is in the run's directory.
func parsed(t *testing.T, r *Report, events []timeline.Event) *html.Node {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, violation), []byte("<svg></svg>"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Write(dir, r, events); err != nil {
		t.Fatal(err)
	}
	doc, err := html.Parse(bytes.NewReader(content(t, dir, HTMLFile)))
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// elements returns the elements with a name, "" for all.
func elements(doc *html.Node, name string) []*html.Node {
	var found []*html.Node
	for n := range doc.Descendants() {
		if n.Type == html.ElementNode && (name == "" || n.Data == name) {
			found = append(found, n)
		}
	}
	return found
}

func attribute(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

func text(n *html.Node) string {
	var b strings.Builder
	for d := range n.Descendants() {
		if d.Type == html.TextNode {
			b.WriteString(d.Data)
		}
	}
	return b.String()
}

func TestPageRefersToNothingOutside(t *testing.T) {
	r := sampleReport()
	r.Checks[0].Source = "https://example.com/issue/1" // a citation stays text
	Judge(r, nil)
	doc := parsed(t, r, sampleEvents(time.Minute))
	if links := elements(doc, "a"); len(links) != 1 || attribute(links[0], "href") != violation {
		t.Errorf("%d links, want one to the picture of the violation", len(links))
	}
	for _, n := range elements(doc, "") {
		for _, a := range n.Attr {
			switch a.Key {
			case "src", "href", "srcset", "action", "data", "poster":
				if a.Val != violation { // beside the page
					t.Errorf("<%s %s=%q> refers to something", n.Data, a.Key, a.Val)
				}
			}
		}
		switch n.Data {
		case "link", "iframe", "object", "embed", "base", "img":
			t.Errorf("the page has a <%s>", n.Data)
		case "style", "script":
			for _, word := range []string{"http://", "https://", "@import", "url(", "fetch(", "XMLHttpRequest", "WebSocket", "import("} {
				if strings.Contains(text(n), word) && attribute(n, "type") == "" {
					t.Errorf("a <%s> has %q", n.Data, word)
				}
			}
		}
	}
}

func TestPageTellsAll(t *testing.T) {
	r := sampleReport()
	Judge(r, []string{"RES-03"})
	doc := parsed(t, r, sampleEvents(time.Minute))
	body := text(elements(doc, "body")[0])
	words := []string{"Not certified", r.RunID, r.Target.VaultVersion, r.Target.KubernetesVersion, "vaultproof-worker3 (vault, zone-c)", "sha256:9a1b2c3d"}
	words = append(words, r.Reasons...)
	for _, c := range r.Checks {
		words = append(words, c.ID, c.Assertion, c.Source, c.Reason)
	}
	for _, f := range r.Faults {
		words = append(words, f.ID, f.Kind, f.Target, f.Witness, span(f.OutageMS), span(f.BudgetMS))
	}
	for _, word := range words {
		if !strings.Contains(body, word) {
			t.Errorf("the page lacks %q", word)
		}
	}
	if main := text(elements(doc, "main")[0]); strings.Index(main, r.Reasons[0]) > strings.Index(main, "What was tested") {
		t.Error("the reasons do not stand above all")
	}
	statuses := map[string]int{}
	for _, n := range elements(doc, "article") {
		statuses[attribute(n, "data-status")]++
	}
	if statuses["passed"] != 10 || statuses["failed"] != 2 || statuses["skipped"] != 1 || statuses["inconclusive"] != 1 {
		t.Errorf("rows by status: %v", statuses)
	}
}

// sampleBaseline is a comparison that found something of each kind.
func sampleBaseline() *Baseline {
	return &Baseline{
		RunID: "20261116-013000-5d02", Started: sampleStart.AddDate(0, 0, -7), Verdict: Certified, VaultVersion: "1.21.0",
		Failed: []string{"OPS-08"}, Unproved: []string{"ISO-02"}, Unasked: []string{"BOOT-09"}, Notes: []string{"The clusters differ."},
		Times: []Timing{
			{Check: "RES-01", Kind: "pod-delete", What: "outage", Then: Sample{20, 905}, Now: Sample{20, 918}, P: 0.7, Outcome: NotSlower},
			{Check: "RES-02", Kind: "process-kill", What: "outage", Then: Sample{20, 1480}, Now: Sample{20, 2200.6}, P: 3.1e-7, Outcome: Slower},
			{Check: "RES-02", Kind: "process-kill", What: "unsealed", Then: Sample{20, 4410}, Now: Sample{20, 4590}, P: 0.31, Outcome: NotSlower},
			{Check: "RES-08", Kind: "all-pods", What: "outage", Then: Sample{2, 9900}, Now: Sample{20, 10_130}, P: 0.2, Outcome: TooFew, Enough: 7},
		},
	}
}

func TestPageTellsTheBaseline(t *testing.T) {
	r := sampleReport()
	r.Checks = r.Checks[:2]
	r.Baseline = sampleBaseline()
	Judge(r, nil)
	body := text(elements(parsed(t, r, nil), "body")[0])
	for _, word := range []string{
		"Not certified", "not as well as in the run that this one was compared with",
		"OPS-08 passed in run 20261116-013000-5d02, the baseline, and failed now.",
		"RES-02 (process-kill) became slower", "outage 2.20 s in 20 trials now, 1.48 s in 20 trials then",
		"ISO-02 passed in run 20261116-013000-5d02, the baseline, and was not judged now.",
		"BOOT-09 passed", "was not asked for now", "The clusters differ.", "RES-08 (2 then, 20 now); 7 in each run would do",
		"1 check failed that passed then, and 1 time became longer", "+49 %", "p = 3e-07", "too few trials, 7 in each run would do",
	} {
		if !strings.Contains(body, word) {
			t.Errorf("the page lacks %q", word)
		}
	}
	r.Baseline = nil
	if strings.Contains(text(elements(parsed(t, r, nil), "body")[0]), "Compared with") {
		t.Error("the page tells of a comparison that was not made")
	}
}

func TestPageOfNothing(t *testing.T) {
	r := &Report{Broken: "kind could not start a node"}
	Judge(r, nil)
	body := text(elements(parsed(t, r, nil), "body")[0])
	for _, word := range []string{"Infrastructure failed", "kind could not start a node.", "No check was run.", "No fault was injected", "nothing to draw"} {
		if !strings.Contains(body, word) {
			t.Errorf("the page lacks %q", word)
		}
	}
}

// TestPageKeepsScriptsOut feeds it what a log, an error or a name may hold.
func TestPageKeepsScriptsOut(t *testing.T) {
	evil := `</script></style><script id="evil">alert(1)</script><img src=x onerror=alert(1)>"'` + "\u2028<!--"
	plain := sampleReport()
	Judge(plain, nil)
	r := sampleReport()
	r.RunID, r.Profile, r.Target.Cluster, r.Interrupted = evil, evil, evil, evil
	r.Target.Images = map[string]string{evil: evil}
	r.Checks[0] = Check{ID: evil, Area: evil, Level: evil, Status: Failed, Assertion: evil, Source: evil, Reason: evil, Measurements: map[string]float64{evil: 1}}
	r.Faults[0].ID, r.Faults[0].Kind, r.Faults[0].Target, r.Faults[0].Witness = evil, evil, evil, evil
	Judge(r, nil)
	events := append(sampleEvents(time.Minute),
		timeline.Event{At: sampleStart, Kind: timeline.Operation, Subject: evil, Detail: evil},
		timeline.Event{At: sampleStart, Kind: timeline.Leader, Subject: evil, Value: evil},
		timeline.Event{At: sampleStart, Kind: timeline.Endpoints, Subject: evil, Value: evil})
	want := len(elements(parsed(t, plain, events), "script"))
	doc := parsed(t, r, events)
	if got := len(elements(doc, "script")); got != want {
		t.Errorf("%d scripts, want %d", got, want)
	}
	for _, n := range elements(doc, "") {
		if n.Data == "img" || attribute(n, "id") == "evil" || attribute(n, "onerror") != "" {
			t.Errorf("<%s> was let in", n.Data)
		}
	}
	var c chart
	for _, n := range elements(doc, "script") {
		if attribute(n, "id") == "chart" {
			if err := json.Unmarshal([]byte(text(n)), &c); err != nil {
				t.Errorf("the embedded data is not JSON: %v", err)
			}
		}
	}
	if len(c.Faults) == 0 || c.Faults[0].ID != evil {
		t.Errorf("the embedded data lost a name: %+v", c.Faults)
	}
}

// TestPageIsSmall writes the page of two hours with 20 trials of 8 checks.
func TestPageIsSmall(t *testing.T) {
	dir := t.TempDir()
	if *sampleDir != "" {
		dir = *sampleDir
		r := sampleReport()
		Judge(r, nil)
		if err := Write(filepath.Join(dir, "short"), r, sampleEvents(15*time.Minute)); err != nil {
			t.Fatal(err)
		}
		dir = filepath.Join(dir, "long")
	}
	r, events := longRun(2*time.Hour, 20)
	r.Baseline = sampleBaseline()
	Judge(r, nil)
	if err := Write(dir, r, events); err != nil {
		t.Fatal(err)
	}
	if size := len(content(t, dir, HTMLFile)); size > 1_000_000 {
		t.Errorf("the page of a run of two hours has %d bytes, want under 1 MB", size)
	}
}

func TestTrialsAreSummedUp(t *testing.T) {
	r, _ := longRun(time.Minute, 20)
	r.Faults[3].Witness = ""
	groups := trialViews(r.Faults)
	if len(groups) != 8 {
		t.Fatalf("%d groups, want 8", len(groups))
	}
	var times []float64
	for _, f := range r.Faults {
		if f.Check == "RES-02" {
			times = append(times, f.OutageMS)
		}
	}
	g, spread := groups[4], SpreadOf(times)
	if g.Check != "RES-02" || g.Only || len(g.Rows) != 20 || len(g.Outage.Dots) != 20 {
		t.Fatalf("the fifth group is %s with %d rows and %d dots, want RES-02 with 20", g.Check, len(g.Rows), len(g.Outage.Dots))
	}
	if o := g.Outage; o.Median != span(spread.Median) || o.P95 != span(spread.P95) || o.Max != span(spread.Max) {
		t.Errorf("median %s, p95 %s, max %s; want %+v", o.Median, o.P95, o.Max, spread)
	}
	for _, g := range groups {
		unproved := g.Check == r.Faults[3].Check
		if (g.Witness == "") != unproved || unproved && (g.Tone != "bad" || g.Proved != "19 of 20 proved to have hit") {
			t.Errorf("%s: witness %q, tone %q, %s", g.Check, g.Witness, g.Tone, g.Proved)
		}
	}
}

func TestSpreadOf(t *testing.T) {
	var ms []float64
	for i := range 20 {
		ms = append(ms, float64(20-i))
	}
	if got, want := SpreadOf(ms), (Spread{N: 20, Median: 10, P95: 19, Max: 20}); got != want {
		t.Errorf("spread %+v, want %+v", got, want)
	}
	if got, want := SpreadOf(ms[:3]), (Spread{N: 3, Median: 19, P95: 20, Max: 20}); got != want {
		t.Errorf("spread %+v, want %+v", got, want)
	}
	if got := SpreadOf(nil); got != (Spread{}) {
		t.Errorf("of nothing: %+v", got)
	}
}

// BenchmarkPage writes the page of a million events.
func BenchmarkPage(b *testing.B) {
	r, events := longRun(2*time.Hour, 20)
	Judge(r, nil)
	dir := b.TempDir()
	b.ReportAllocs()
	for b.Loop() {
		if err := Write(dir, r, events); err != nil {
			b.Fatal(err)
		}
	}
	info, err := os.Stat(filepath.Join(dir, HTMLFile))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(info.Size()), "page-bytes")
	b.ReportMetric(float64(len(events)), "events")
}

// drawnBy has the browser open a page and returns the document that came of it.
// What the page complains of is an error.
func drawnBy(t *testing.T, url string) []byte {
	t.Helper()
	command := exec.CommandContext(t.Context(), *browser, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
		"--user-data-dir="+t.TempDir(), "--virtual-time-budget=2000", "--enable-logging=stderr", "--dump-dom", url)
	var complaints bytes.Buffer
	command.Stderr = &complaints
	command.Env = os.Environ()
	out, err := command.Output()
	if err != nil {
		t.Fatalf("running %s: %v", *browser, err)
	}
	for line := range strings.Lines(complaints.String()) {
		if strings.Contains(line, "CONSOLE") {
			t.Errorf("%s: %s", url, line)
		}
	}
	return out
}

// TestPageInBrowser draws the page for real: go test ./pkg/report -browser chromium
func TestPageInBrowser(t *testing.T) {
	if *browser == "" {
		t.Skip("no browser was named with -browser")
	}
	r := sampleReport()
	Judge(r, nil)
	long, longEvents := longRun(20*time.Minute, 4)
	Judge(long, nil)
	for name, run := range map[string]struct {
		report *Report
		events []timeline.Event
	}{"full": {r, sampleEvents(sampleLength)}, "empty": {r, nil}, "long": {long, longEvents}} {
		dir := written(t, run.report, run.events)
		for _, hash := range []string{"", "#theme=dark&fault=RES-02%231", "#fault=absent"} {
			if out := drawnBy(t, "file://"+filepath.Join(dir, HTMLFile)+hash); !bytes.Contains(out, []byte(`data-drawn="yes"`)) {
				t.Errorf("%s%s was not drawn", name, hash)
			}
		}
	}
}

// useThePage does what a user does, and writes down what is in view after each step,
// in seconds.
const useThePage = `<script>
const seen = [], say = what => seen.push(what + " " + Math.round((view.to - view.from) / 1000));
const plot = document.getElementById("plot"), box = plot.getBoundingClientRect();
const at = x => ({ bubbles: true, cancelable: true, clientX: box.left + x, clientY: box.top + 60, pointerId: 1, pointerType: "mouse", button: 0 });
plot.setPointerCapture = () => {};
say("whole");
plot.dispatchEvent(new WheelEvent("wheel", { ...at(600), deltaY: -80 })); say("wheel-unasked");
plot.focus(); plot.dispatchEvent(new WheelEvent("wheel", { ...at(600), deltaY: -80 })); say("wheel");
plot.dispatchEvent(new KeyboardEvent("keydown", { key: "0", cancelable: true })); say("key-0");
plot.dispatchEvent(new PointerEvent("pointerdown", at(200))); plot.dispatchEvent(new PointerEvent("pointermove", at(300)));
plot.dispatchEvent(new PointerEvent("pointerup", at(300))); say("drag");
plot.dispatchEvent(new KeyboardEvent("keydown", { key: "+", cancelable: true })); say("key-plus");
document.querySelector('[data-zoom="out"]').click(); say("button-out");
document.querySelector('[data-step="1"]').click(); say("next");
const list = document.getElementById("faults-list"); list.value = "RES-08#2"; list.dispatchEvent(new Event("change")); say("list");
plot.dispatchEvent(new MouseEvent("dblclick", at(300))); say("double-click");
document.documentElement.dataset.seen = seen.join(", ");
</script>`

// TestPageZoomsInBrowser uses the axis: wheel, drag, keys, buttons, the list of faults.
func TestPageZoomsInBrowser(t *testing.T) {
	if *browser == "" {
		t.Skip("no browser was named with -browser")
	}
	r, events := longRun(20*time.Minute, 4)
	Judge(r, nil)
	dir := written(t, r, events)
	path := filepath.Join(dir, "used.html")
	used := bytes.Replace(content(t, dir, HTMLFile), []byte("</body>"), []byte(useThePage+"</body>"), 1)
	if err := os.WriteFile(path, used, 0o600); err != nil {
		t.Fatal(err)
	}
	_, seen, _ := strings.Cut(string(drawnBy(t, "file://"+path)), `data-seen="`)
	seen, _, _ = strings.Cut(seen, `"`)
	span := map[string]int{}
	for step := range strings.SplitSeq(seen, ", ") {
		var name string
		var seconds int
		if _, err := fmt.Sscan(step, &name, &seconds); err == nil {
			span[name] = seconds
		}
	}
	whole := span["whole"]
	for what, ok := range map[string]bool{
		"the whole run is in view first":                        whole > 1190,
		"the wheel leaves the page to itself until it is asked": span["wheel-unasked"] == whole,
		"the wheel zooms":                                       span["wheel"] < whole && span["wheel"] > whole/2,
		"0 shows the whole run":                                 span["key-0"] == whole,
		"dragging zooms to what was dragged over":               span["drag"] > 0 && span["drag"] < whole/5,
		"+ zooms in":                         span["key-plus"] < span["drag"],
		"the button zooms out":               span["button-out"] > span["key-plus"],
		"the button goes to the first fault": span["next"] > 0 && span["next"] < 30,
		"the list goes to a fault":           span["list"] > 0 && span["list"] < 60,
		"a double click shows the whole run": span["double-click"] == whole,
	} {
		if !ok {
			t.Errorf("not so: %s (seen: %s)", what, seen)
		}
	}
}
