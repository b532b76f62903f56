package conformance

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/vaultproof/vaultproof/pkg/fault"
)

// Options are what a run can be told. DefaultOptions fills in all of them.
type Options struct {
	// Kubeconfig is the path of the kubeconfig; empty means $KUBECONFIG, or the
	// service account of the pod that runs this.
	Kubeconfig string
	// Context in the kubeconfig; empty means its current one.
	Context string
	// Namespace of the Vault; empty means: find the only one.
	Namespace string
	// TargetFile says what cannot be found of the Vault by the labels of the common
	// charts; see target.File. Empty means: find all.
	TargetFile string
	// ClusterName is what the report calls the cluster.
	ClusterName string
	// Profile says which checks the verdict demands.
	Profile string
	// RunChecks narrows what runs down to ids that match one of the globs. It
	// does not narrow what the verdict demands.
	RunChecks []string
	// Seed decides order, targets and timing. Zero means: take one from the
	// clock, and print it.
	Seed int64
	// Artifacts is the directory that gets one subdirectory per run.
	Artifacts string
	// Trials is how often each fault is injected.
	Trials int
	// Walk is how long the random walk through all faults goes on.
	Walk time.Duration
	// CustodyEndpoint overrides the address of custody (host:port).
	CustodyEndpoint string
	// Budgets is a file of outage budgets.
	Budgets string
	// Baseline is the report.json of an earlier run, or its directory, that this
	// one must not be worse than. Empty means: no comparison.
	Baseline string
	// CustodyAdmin and KindCluster name what can break custody and nodes, for
	// the program that makes CustodySwitch and Power of them.
	CustodyAdmin, KindCluster string
	// CustodySwitch and Power, if set, let checks break custody and nodes, which
	// the Kubernetes API cannot.
	CustodySwitch fault.CustodySwitch
	Power         fault.NodePower
	// Tenants says where tenants are and what sets them up. Without a kubeconfig the checks
	// of tenancy are skipped.
	Tenants Tenants
	// List prints the checks instead of running them.
	List bool
	// Out gets the summary and the list. It never gets a secret.
	Out io.Writer
}

// Tenants is what a run is told of tenants.
type Tenants struct {
	// Kubeconfig is the path of that of the tenant cluster.
	Kubeconfig string
	// Terraform is the path of terraform or tofu; empty means the one in PATH.
	Terraform string
	// Mirror is a directory of providers, in the layout of a filesystem mirror; empty means
	// the public registry.
	Mirror string
}

// DefaultOptions are those of a run without any flag.
func DefaultOptions() Options {
	return Options{Profile: "certify", Artifacts: "artifacts", Trials: 1, Walk: 10 * time.Minute, Out: os.Stdout}
}

// ErrNotAsked means that the process was given none of our flags, so it was
// most likely started to run unit tests.
var ErrNotAsked = errors.New("no cluster was given: run with -args -kubeconfig FILE -profile PROFILE")

var flagNames = []string{
	"kubeconfig", "context", "namespace", "target", "cluster-name", "profile", "run-checks", "seed",
	"artifacts", "trials", "walk", "custody-endpoint", "budgets", "baseline", "list",
	"custody-admin", "kind-cluster", "tenant-kubeconfig", "terraform", "terraform-mirror",
}

// The flags are registered at start-up, so that every test binary that imports
// a spec accepts them: "go test ./suites/... -args -profile smoke" passes them
// to all.
func init() { registerFlags(flag.CommandLine, DefaultOptions()) }

func registerFlags(set *flag.FlagSet, d Options) {
	text := func(name, value, usage string) {
		// Another library in the same program may own the name already
		// (controller-runtime registers -kubeconfig); its value then serves.
		if set.Lookup(name) == nil {
			set.String(name, value, usage)
		}
	}
	text("kubeconfig", d.Kubeconfig, "kubeconfig of the cluster with the Vault to test; default $KUBECONFIG, in a pod its service account")
	text("context", d.Context, "context in the kubeconfig; default its current one")
	text("namespace", d.Namespace, "namespace of the Vault; default: find the only one")
	text("target", d.TargetFile, "YAML file that says what cannot be found of the Vault by labels; default: find all")
	text("cluster-name", d.ClusterName, "name of the cluster in the report; default the server's address")
	text("profile", d.Profile, "what the verdict demands: smoke, certify, vault, resilience or tenancy")
	text("run-checks", "", "run only the checks whose ids match these comma-separated globs, e.g. ACT-*,RES-01")
	text("seed", "0", "seed of order, targets and timing; 0 takes one from the clock")
	text("artifacts", d.Artifacts, "directory for the run's results")
	text("trials", strconv.Itoa(d.Trials), "how often each fault is injected")
	text("walk", d.Walk.String(), "how long the random walk through all faults (RES-13) goes on, one fault a minute")
	text("custody-endpoint", d.CustodyEndpoint, "host:port of custody as this machine reaches it; default as in ConfigMap vault-custody")
	text("budgets", d.Budgets, "YAML file of outage budgets, ID: duration")
	text("baseline", d.Baseline, "report.json of an earlier run: what passed then has to pass now, and no fault may take longer beyond the noise of both runs")
	text("custody-admin", "", "URL of the admin interface of a custody server made for tests; default: that of the kind cluster, if vaultproof made it")
	text("kind-cluster", "", "kind cluster made by vaultproof whose nodes may be turned off; default: the one that -cluster-name names, if vaultproof made it")
	text("tenant-kubeconfig", "", "kubeconfig of the cluster that tenants run in; without it the checks of tenancy are skipped")
	text("terraform", "", "path of the terraform or tofu that sets tenants up; default: the one in $PATH")
	text("terraform-mirror", "", "directory that Terraform's providers are taken from (filesystem mirror); default: the public registry")
	if set.Lookup("list") == nil {
		set.Bool("list", false, "list the checks, those that -run-checks names if given, and exit (go test hides it without -v)")
	}
}

// OptionsFromFlags reads the options from the command line. It returns
// ErrNotAsked if none of them was given: chaos must never start because a
// KUBECONFIG happened to be set while unit tests ran.
func OptionsFromFlags() (Options, error) { return optionsFrom(flag.CommandLine) }

func optionsFrom(set *flag.FlagSet) (Options, error) {
	o := DefaultOptions()
	asked := false
	set.Visit(func(f *flag.Flag) {
		for _, name := range flagNames {
			asked = asked || f.Name == name
		}
	})
	if !asked {
		return o, ErrNotAsked
	}
	text := func(name string) string { return set.Lookup(name).Value.String() }
	o.Kubeconfig, o.Context, o.Namespace = text("kubeconfig"), text("context"), text("namespace")
	o.TargetFile = text("target")
	o.ClusterName, o.Profile, o.Artifacts = text("cluster-name"), text("profile"), text("artifacts")
	o.CustodyEndpoint, o.Budgets, o.Baseline = text("custody-endpoint"), text("budgets"), text("baseline")
	o.CustodyAdmin, o.KindCluster = text("custody-admin"), text("kind-cluster")
	o.Tenants = Tenants{Kubeconfig: text("tenant-kubeconfig"), Terraform: text("terraform"), Mirror: text("terraform-mirror")}
	o.List = text("list") == "true"
	for glob := range strings.SplitSeq(text("run-checks"), ",") {
		if glob = strings.TrimSpace(glob); glob != "" {
			o.RunChecks = append(o.RunChecks, glob)
		}
	}
	var err error
	if o.Seed, err = strconv.ParseInt(text("seed"), 10, 64); err != nil || o.Seed < 0 {
		return o, fmt.Errorf("-seed %s is no whole number from 0 on", text("seed"))
	}
	if o.Trials, err = strconv.Atoi(text("trials")); err != nil || o.Trials < 1 {
		return o, fmt.Errorf("-trials %s is no whole number from 1 on", text("trials"))
	}
	if o.Walk, err = time.ParseDuration(text("walk")); err != nil || o.Walk < time.Minute {
		return o, fmt.Errorf("-walk %s is no time such as 10m, of a minute at least", text("walk"))
	}
	return o, nil
}

// restConfig loads the kubeconfig that the options name, or, in a pod that was given
// none, the credentials of its service account.
func (o Options) restConfig() (*rest.Config, error) {
	path := o.Kubeconfig
	if path == "" {
		path = os.Getenv(clientcmd.RecommendedConfigPathEnvVar)
	}
	config, err := o.load(path)
	if err != nil {
		return nil, err
	}
	// The default of 5 requests a second would stretch every observation.
	config.QPS, config.Burst = 50, 100
	config.UserAgent = "vaultproof"
	return config, nil
}

func (o Options) load(path string) (*rest.Config, error) {
	if path == "" {
		config, err := rest.InClusterConfig()
		if errors.Is(err, rest.ErrNotInCluster) {
			return nil, errors.New("no kubeconfig was given: pass -kubeconfig FILE or set $KUBECONFIG")
		}
		if err != nil {
			return nil, fmt.Errorf("the service account of this pod cannot be used (%w): mount its token (automountServiceAccountToken), or pass -kubeconfig FILE", err)
		}
		return config, nil
	}
	rules := &clientcmd.ClientConfigLoadingRules{Precedence: strings.Split(path, string(os.PathListSeparator)), WarnIfAllMissing: false}
	if o.Kubeconfig != "" {
		rules = &clientcmd.ClientConfigLoadingRules{ExplicitPath: path}
	}
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules,
		&clientcmd.ConfigOverrides{CurrentContext: o.Context}).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("the kubeconfig %s cannot be used (%w): check the path given with -kubeconfig and the -context", path, err)
	}
	return config, nil
}

// seed returns the seed of the run, taken from the clock if none was given.
func (o Options) seed(now time.Time) int64 {
	if o.Seed != 0 {
		return o.Seed
	}
	return now.UnixNano()%1_000_000 + 1
}
