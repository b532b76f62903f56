package places

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/vaultproof/vaultproof/pkg/leak"
	"github.com/vaultproof/vaultproof/pkg/target"
)

const token = "hvs.CAESIHp3Zr9kQ2mXw7Lc1TnVb8sYd5Gf"

type object = map[string]any

// cluster answers like an API server with a few objects.
type cluster struct {
	mu      sync.Mutex
	objects map[string][]object // by path of the list
	logs    map[string]string   // by path of the pod and query
	refused string              // a path that is forbidden
	goneLog string              // path of a log whose previous one is removed
	lost    string              // the name of a kind of object that is not stored
}

func newCluster() *cluster {
	return &cluster{
		objects: map[string][]object{
			"/api/v1/nodes": {named("", "node-0"), named("", "node-1")}, "/api/v1/configmaps": nil, "/api/v1/events": nil,
			"/api/v1/secrets": {named("vault", "tls")}, "/api/v1/pods": {runningPod()},
			"/apis/apps/v1/statefulsets": {object{
				"metadata": object{"name": "vault", "namespace": "vault"},
				"spec":     object{"template": object{"spec": object{"containers": []object{{"name": "vault", "image": "vault:test"}}}}},
			}},
		},
		logs: map[string]string{},
	}
}

func (c *cluster) all() map[string]string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.logs)
}

func named(namespace, name string) object {
	return object{"metadata": object{"namespace": namespace, "name": name}}
}

func runningPod() object {
	pod := named("vault", "vault-0")
	pod["status"] = object{"containerStatuses": []object{{"name": "vault", "containerID": "x", "restartCount": 1,
		"lastState": object{"terminated": object{"message": "bye"}}}}}
	return pod
}

func (c *cluster) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	reply := func(code int, body object) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		_ = json.NewEncoder(w).Encode(body)
	}
	status := func(code int, reason string) {
		reply(code, object{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "code": code, "message": reason})
	}
	resource := func(name, kind string, verbs ...string) object {
		return object{"name": name, "kind": kind, "namespaced": true, "verbs": verbs}
	}
	switch path := r.URL.Path; {
	case path == c.refused:
		status(403, "Forbidden")
	case path == "/api":
		reply(200, object{"kind": "APIVersions", "versions": []string{"v1"}})
	case path == "/apis":
		reply(200, object{"kind": "APIGroupList", "groups": []object{{"name": "apps", "versions": []object{{"groupVersion": "apps/v1", "version": "v1"}}, "preferredVersion": object{"groupVersion": "apps/v1", "version": "v1"}}}})
	case path == "/apis/apps/v1":
		reply(200, object{"kind": "APIResourceList", "groupVersion": "apps/v1", "resources": []object{resource("statefulsets", "StatefulSet", "list")}})
	case path == "/api/v1":
		reply(200, object{"kind": "APIResourceList", "groupVersion": "v1", "resources": []object{
			resource("pods", "Pod", "list"), resource("pods/log", "Pod", "get"), resource("bindings", "Binding", "create"),
			resource("secrets", "Secret", "list"), resource("configmaps", "ConfigMap", "list"), resource("events", "Event", "list"),
		}})
	case path == c.goneLog && r.URL.Query().Get("previous") == "true":
		status(400, "BadRequest")
	case strings.HasSuffix(path, "/log"):
		_, _ = io.WriteString(w, c.logs[path+" previous="+r.URL.Query().Get("previous")])
	default:
		c.object(w, r, reply, status)
	}
}

// object lists, gives, stores and deletes objects.
func (c *cluster) object(w http.ResponseWriter, r *http.Request, reply func(int, object), status func(int, string)) {
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	name := ""
	for i, p := range parts {
		if p == "namespaces" {
			if len(parts) > i+3 {
				name = parts[i+3]
			}
			parts = append(parts[:i:i], parts[i+2])
			break
		}
	}
	list := "/" + strings.Join(parts, "/")
	all, known := c.objects[list]
	switch {
	case !known:
		status(404, "NotFound")
	case r.Method == http.MethodPost:
		var created object
		_ = json.NewDecoder(r.Body).Decode(&created)
		if !strings.HasSuffix(list, "/"+c.lost) {
			c.objects[list] = append(all, c.started(list, created))
		}
		reply(201, created)
	case name != "":
		for i, o := range all {
			if o["metadata"].(object)["name"] == name {
				if r.Method == http.MethodDelete {
					c.objects[list] = append(all[:i:i], all[i+1:]...)
				}
				reply(200, o)
				return
			}
		}
		status(404, "NotFound")
	default:
		// One object a page.
		from := len(r.URL.Query().Get("continue"))
		metadata := object{}
		if r.URL.Query().Get("limit") != "" && from+1 < len(all) {
			metadata["continue"] = strings.Repeat("x", from+1)
			all = all[from : from+1]
		} else if from > 0 {
			all = all[from:]
		}
		if all == nil {
			all = []object{}
		}
		reply(200, object{"metadata": metadata, "items": all})
	}
}

// started has a pod say its control, as a kubelet would.
func (c *cluster) started(list string, o object) object {
	if list != "/api/v1/pods" {
		return o
	}
	name := o["metadata"].(object)["name"].(string)
	container := o["spec"].(object)["containers"].([]any)[0].(object)
	value := container["env"].([]any)[0].(object)["value"].(string)
	o["status"] = object{"containerStatuses": []object{{"name": "control", "containerID": "x", "restartCount": 1, "state": object{"running": object{}},
		"lastState": object{"terminated": object{"message": value}}}}}
	for _, previous := range []string{"", "true"} {
		c.logs["/api/v1/namespaces/vault/pods/"+name+"/log previous="+previous] = value
	}
	return o
}

func (c *cluster) options(t *testing.T) Options {
	t.Helper()
	server := httptest.NewServer(c)
	t.Cleanup(server.Close)
	config := &rest.Config{Host: server.URL, ContentConfig: rest.ContentConfig{ContentType: "application/json"}}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return Options{
		Target:  &target.Target{Config: config, Client: client, Namespace: "vault", StatefulSet: "vault", Container: "vault"},
		Needles: []leak.Needle{{Name: "root-token", Value: []byte(token)}},
	}
}

func gzipped(t *testing.T, text string) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// disk is a node's disk with one file.
type disk struct {
	name    string
	content []byte
	err     error
	logs    *cluster // whose logs are on the disk too
}

func (d disk) Archive(_ context.Context, node string, paths ...string) (io.ReadCloser, error) {
	if d.err != nil {
		return nil, d.err
	}
	if len(paths) == 0 {
		return nil, errors.New("no path was asked for")
	}
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	_ = w.WriteHeader(&tar.Header{Name: "var/", Typeflag: tar.TypeDir})
	_ = w.WriteHeader(&tar.Header{Name: d.name, Typeflag: tar.TypeReg, Size: int64(len(d.content)), Mode: 0o600})
	_, _ = w.Write(d.content)
	if d.logs != nil {
		for path, text := range d.logs.all() {
			_ = w.WriteHeader(&tar.Header{Name: "var/log" + path, Typeflag: tar.TypeReg, Size: int64(len(text)), Mode: 0o600})
			_, _ = io.WriteString(w, text)
		}
	}
	_ = w.Close()
	return io.NopCloser(&out), nil
}

func TestCleanTargetHasNoFinding(t *testing.T) {
	c := newCluster()
	opts := c.options(t)
	opts.Dirs, opts.Disks, opts.Plant = []string{t.TempDir()}, disk{name: "var/log/pods/x.log", logs: c}, true
	report, err := Scan(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	if err := report.Err(); err != nil {
		t.Error(err)
	}
	controlled := 0
	for _, p := range report.Places {
		if p.Unseen != "" {
			t.Errorf("%s was not searched: %s", p.Name, p.Unseen)
		}
		if p.Control {
			controlled++
		}
	}
	if len(report.Places) != 5 || controlled != 4 {
		t.Errorf("places %+v, want five, and what was planted in all but the directory", report.Places)
	}
}

// Every place is searched: a secret in it alone is found, and said to be there.
func TestFindsASecretInEveryPlace(t *testing.T) {
	encoded := base64.StdEncoding.EncodeToString([]byte(token))
	release := base64.StdEncoding.EncodeToString([]byte(base64.StdEncoding.EncodeToString(gzipped(t, "token: "+token))))
	for name, c := range map[string]struct {
		put  func(c *cluster, opts *Options)
		want string
	}{
		"a Secret": {func(c *cluster, _ *Options) {
			c.objects["/api/v1/secrets"] = append(c.objects["/api/v1/secrets"], object{"metadata": object{"namespace": "vault", "name": "stray"}, "data": object{"token": encoded}})
		}, "of secrets/vault/stray"},
		"a Helm release": {func(c *cluster, _ *Options) {
			c.objects["/api/v1/secrets"] = append(c.objects["/api/v1/secrets"], object{"metadata": object{"namespace": "apps", "name": "sh.helm.release.v1.x.v1"}, "data": object{"release": release}})
		}, "in gzip in base64 in base64 at byte"},
		"an annotation": {func(c *cluster, _ *Options) {
			c.objects["/apis/apps/v1/statefulsets"][0]["metadata"].(object)["annotations"] = object{"kubectl.kubernetes.io/last-applied-configuration": `{"env":"` + token + `"}`}
		}, "of statefulsets.apps/vault/vault"},
		"an event": {func(c *cluster, _ *Options) {
			c.objects["/api/v1/events"] = []object{{"metadata": object{"namespace": "vault", "name": "e"}, "message": token}}
		}, "of events/vault/e"},
		"a termination message": {func(c *cluster, _ *Options) {
			pod := runningPod()
			pod["status"].(object)["containerStatuses"].([]object)[0]["lastState"] = object{"terminated": object{"message": token}}
			c.objects["/api/v1/pods"] = []object{pod}
		}, "of the termination message of vault/vault-0/vault"},
		"a log": {func(c *cluster, _ *Options) {
			c.logs["/api/v1/namespaces/vault/pods/vault-0/log previous="] = token
		}, "of the log of vault/vault-0/vault"},
		"a previous log": {func(c *cluster, _ *Options) {
			c.logs["/api/v1/namespaces/vault/pods/vault-0/log previous=true"] = token
		}, "of the previous log of vault/vault-0/vault"},
		"a file of the run": {func(_ *cluster, opts *Options) {
			dir := t.TempDir()
			if err := os.MkdirAll(filepath.Join(dir, "bundle"), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "bundle", "a.log"), []byte(token), 0o600); err != nil {
				t.Fatal(err)
			}
			opts.Dirs = []string{dir}
		}, "/bundle/a.log"},
		"etcd's database": {func(_ *cluster, opts *Options) {
			opts.Disks = disk{name: "var/lib/etcd/member/snap/db", content: []byte("\x0a\x20" + token + "\x12")}
		}, "of node node-0: /var/lib/etcd/member/snap/db"},
		"a rotated log": {func(_ *cluster, opts *Options) {
			opts.Disks = disk{name: "var/log/pods/x/0.log.gz", content: gzipped(t, token)}
		}, "in gzip at byte 0 of node node-1: /var/log/pods/x/0.log.gz"},
		"a place of the caller's": {func(_ *cluster, opts *Options) {
			opts.Sources = []Source{{Name: "capture", Each: func(_ context.Context, visit Visit) error {
				return visit("the capture of vault-0", strings.NewReader(token))
			}}}
		}, "of the capture of vault-0"},
	} {
		cluster := newCluster()
		opts := cluster.options(t)
		c.put(cluster, &opts)
		report, err := Scan(t.Context(), opts)
		if err != nil {
			t.Fatal(err)
		}
		if err := report.Err(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want something %s", name, err, c.want)
		}
		if strings.Contains(report.String(), token) || !strings.Contains(report.String(), "FOUND root-token") {
			t.Errorf("%s: the report says %q", name, report)
		}
	}
}

// What cannot be searched is told, and the rest is searched all the same.
func TestSaysWhatWasNotSearched(t *testing.T) {
	broken := errors.New("the disk is gone")
	for name, c := range map[string]struct {
		put         func(c *cluster, opts *Options)
		place, want string
	}{
		"forbidden objects": {func(c *cluster, _ *Options) { c.refused = "/api/v1/secrets" }, "Kubernetes objects", "secrets: listing: "},
		"forbidden groups":  {func(c *cluster, _ *Options) { c.refused = "/apis/apps/v1" }, "Kubernetes objects", "asking for the API groups"},
		"forbidden pods":    {func(c *cluster, _ *Options) { c.refused = "/api/v1/pods" }, "container logs", "listing the pods"},
		"a forbidden log": {func(c *cluster, _ *Options) { c.refused = "/api/v1/namespaces/vault/pods/vault-0/log" },
			"container logs", "opening the log of vault/vault-0/vault"},
		"no directory": {func(_ *cluster, opts *Options) { opts.Dirs = []string{"/nowhere"} }, "files in /nowhere", "no such file"},
		"no disks":     {func(*cluster, *Options) {}, "disks of the nodes", "nobody gives access"},
		"a dead disk":  {func(_ *cluster, opts *Options) { opts.Disks = disk{err: broken} }, "disks of the nodes", "node-1: the disk is gone"},
		"a place that breaks off": {func(_ *cluster, opts *Options) {
			opts.Sources = []Source{{Name: "capture", Each: func(_ context.Context, visit Visit) error {
				return visit("the capture", iotest.ErrReader(broken))
			}}}
		}, "capture", "the disk is gone"},
	} {
		cluster := newCluster()
		cluster.logs["/api/v1/namespaces/vault/pods/vault-0/log previous=true"] = token
		cluster.objects["/api/v1/events"] = []object{{"metadata": object{"name": "e"}, "message": token}}
		opts := cluster.options(t)
		c.put(cluster, &opts)
		report, err := Scan(t.Context(), opts)
		if err != nil {
			t.Fatal(err)
		}
		if report.Err() == nil {
			t.Errorf("%s: what could be searched was not", name)
		}
		found := false
		for _, p := range report.Places {
			found = found || p.Name == c.place && strings.Contains(p.Unseen, c.want)
		}
		if !found || !strings.Contains(report.String(), "not searched: "+c.place) {
			t.Errorf("%s: the report says %q, want %s: %s", name, report, c.place, c.want)
		}
	}
}

// The kubelet removes a previous container, with its log, when a node was off.
func TestAPreviousLogThatIsGoneIsNoGap(t *testing.T) {
	c := newCluster()
	c.goneLog = "/api/v1/namespaces/vault/pods/vault-0/log"
	opts := c.options(t)
	opts.Disks = disk{name: "var/log/x"}
	report, err := Scan(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range report.Places {
		if p.Unseen != "" {
			t.Errorf("%s: %s", p.Name, p.Unseen)
		}
	}
}

// A kind of place from which the planted secret does not come back fails the search.
func TestPlantedSecretHasToBeFound(t *testing.T) {
	for _, lost := range []string{"secrets", "configmaps", "events"} {
		c := newCluster()
		c.lost = lost
		opts := c.options(t)
		opts.Plant = true
		if _, err := Scan(t.Context(), opts); err == nil || !strings.Contains(err.Error(), "planted in "+lost+"/vault/leak-control-") {
			t.Errorf("without its %s: %v", lost, err)
		}
	}
	c := newCluster()
	opts := c.options(t)
	opts.Plant, opts.Disks = true, disk{name: "var/log/pods/other.log"}
	if _, err := Scan(t.Context(), opts); !errors.Is(err, ErrControl) || !strings.Contains(err.Error(), "on the disk of any node") {
		t.Errorf("without it on the disks: %v", err)
	}
	opts.Disks = nil
	if _, err := Scan(t.Context(), opts); err != nil {
		t.Error(err)
	}
	for path, list := range c.objects {
		for _, o := range list {
			if name := fmt.Sprint(o["metadata"].(object)["name"]); strings.HasPrefix(name, "leak-control") {
				t.Errorf("%s is left in %s", name, path)
			}
		}
	}
}

func TestRefusesToSearchForNothing(t *testing.T) {
	if _, err := Scan(t.Context(), Options{}); err == nil {
		t.Error("a search without a target was done")
	}
	opts := newCluster().options(t)
	opts.Needles = nil
	if _, err := Scan(t.Context(), opts); !errors.Is(err, target.ErrNoCustody) {
		t.Errorf("a search without secrets: %v", err)
	}
}

func TestCancelledSearchIsAnError(t *testing.T) {
	opts := newCluster().options(t)
	ctx, cancel := context.WithCancel(t.Context())
	opts.Sources = []Source{{Name: "slow", Each: func(_ context.Context, visit Visit) error {
		cancel()
		return visit("slow", strings.NewReader(""))
	}}}
	if _, err := Scan(ctx, opts); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}
