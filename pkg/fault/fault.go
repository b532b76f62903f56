// Package fault breaks one thing at a time, proves that it broke, and undoes
// it.
//
// Each fault is a type whose Inject returns an Injected. Its Witness is proof
// from a source other than the tool that injected: Kubernetes' record of the
// container, or packet counters in the pod's network namespace. A fault without
// a witness says nothing about Vault. What must be undone is in the Journal
// before it is done, so that a run which dies can be cleaned up after.
package fault

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"

	"github.com/vaultproof/vaultproof/pkg/kube"
)

// Labels on every object that a fault creates.
const (
	managedBy      = "app.kubernetes.io/managed-by"
	managedByValue = "vaultproof"
	runLabel       = "vaultproof.dev/run"
)

// pollEvery is how often a condition is looked at: often enough to time a
// witness, rare enough not to load the API server.
const pollEvery = 200 * time.Millisecond

// ErrNoWitness means that nothing proved that the fault hit.
var ErrNoWitness = errors.New("no witness that the fault hit")

// ErrUnavailable means that the target cannot be given this fault; nothing was
// touched.
var ErrUnavailable = errors.New("this fault cannot be injected here")

// ErrStripped means that an object had to be freed of its finalizers to go, so
// that what it did in pods may not have been undone.
var ErrStripped = errors.New("finalizers were removed by force")

// Fault is one thing that can go wrong.
type Fault interface {
	// Kind names what is done, as in the report: pod-delete, process-kill…
	Kind() string
	// Target names to whom: a pod, a zone.
	Target() string
	// Inject does it. It fails with ErrUnavailable, with nothing done, if it
	// can know beforehand that the fault would not work.
	Inject(ctx context.Context) (Injected, error)
}

// Injected is a fault that has been asked for.
type Injected interface {
	// Witness waits, until the context ends, for proof that the fault hit;
	// without any it returns ErrNoWitness with what was seen instead.
	Witness(ctx context.Context) (Witness, error)
	// Recover undoes the fault and waits until it is undone.
	Recover(ctx context.Context) error
}

// Patient is an Injected whose witness may take long to show, for reasons that
// lie in the target.
type Patient interface {
	// Patience is how long to wait for the witness at least.
	Patience() time.Duration
}

// Witness is the proof: what was seen, and when.
type Witness struct {
	Evidence string
	At       time.Time
}

// Env is what faults need to work in one cluster and for one run.
type Env struct {
	Config    *rest.Config
	Client    kubernetes.Interface
	Chaos     ctrl.Client
	Namespace string
	Container string
	RunID     string
	Journal   *Journal
}

// NewEnv prepares an Env for the Vault container in namespace.
func NewEnv(config *rest.Config, namespace, container, runID string, journal *Journal) (*Env, error) {
	client, err := kubernetes.NewForConfig(kube.Fast(config))
	if err != nil {
		return nil, fmt.Errorf("preparing a client for faults: %w", err)
	}
	chaos, err := chaosClient(config)
	if err != nil {
		return nil, err
	}
	return &Env{
		Config: config, Client: client, Chaos: chaos,
		Namespace: namespace, Container: container, RunID: runID, Journal: journal,
	}, nil
}

func chaosClient(config *rest.Config) (ctrl.Client, error) {
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		return nil, fmt.Errorf("registering the Chaos Mesh types: %w", err)
	}
	client, err := ctrl.New(config, ctrl.Options{Scheme: scheme})
	if err != nil {
		return nil, fmt.Errorf("preparing a client for Chaos Mesh objects: %w", err)
	}
	return client, nil
}

func (e *Env) labels() map[string]string {
	return map[string]string{managedBy: managedByValue, runLabel: e.RunID}
}
