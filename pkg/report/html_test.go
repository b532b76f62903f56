package report

import (
	"bytes"
	"encoding/json"
	"flag"
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

// parsed returns the page as a browser would read it.
func parsed(t *testing.T, r *Report, events []timeline.Event) *html.Node {
	t.Helper()
	doc, err := html.Parse(bytes.NewReader(content(t, written(t, r, events), HTMLFile)))
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
	for _, n := range elements(parsed(t, r, sampleEvents(time.Minute)), "") {
		for _, a := range n.Attr {
			switch a.Key {
			case "src", "href", "srcset", "action", "data", "poster":
				t.Errorf("<%s %s=%q> refers to something", n.Data, a.Key, a.Val)
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

func TestPageIsSmall(t *testing.T) {
	dir := t.TempDir()
	if *sampleDir != "" {
		dir = *sampleDir
	}
	r := sampleReport()
	Judge(r, nil)
	if err := Write(dir, r, sampleEvents(15*time.Minute)); err != nil {
		t.Fatal(err)
	}
	if size := len(content(t, dir, HTMLFile)); size > 1_000_000 {
		t.Errorf("the page of a run of 15 minutes has %d bytes, want under 1 MB", size)
	}
}

// TestPageInBrowser draws the page for real: go test ./pkg/report -browser chromium
func TestPageInBrowser(t *testing.T) {
	if *browser == "" {
		t.Skip("no browser was named with -browser")
	}
	r := sampleReport()
	Judge(r, nil)
	for name, events := range map[string][]timeline.Event{"full": sampleEvents(sampleLength), "empty": nil} {
		dir := written(t, r, events)
		for _, hash := range []string{"", "#theme=dark&fault=RES-02%231", "#fault=absent"} {
			command := exec.CommandContext(t.Context(), *browser, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
				"--user-data-dir="+t.TempDir(), "--virtual-time-budget=2000", "--enable-logging=stderr", "--dump-dom", "file://"+filepath.Join(dir, HTMLFile)+hash)
			var complaints bytes.Buffer
			command.Stderr = &complaints
			command.Env = os.Environ()
			out, err := command.Output()
			if err != nil {
				t.Fatalf("running %s: %v", *browser, err)
			}
			if !bytes.Contains(out, []byte(`data-drawn="yes"`)) {
				t.Errorf("%s%s was not drawn", name, hash)
			}
			for line := range strings.Lines(complaints.String()) {
				if strings.Contains(line, "CONSOLE") {
					t.Errorf("%s%s: %s", name, hash, line)
				}
			}
		}
	}
}
