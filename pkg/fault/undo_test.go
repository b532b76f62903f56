package fault

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"
	"k8s.io/client-go/kubernetes/fake"
	ctrlfake "sigs.k8s.io/controller-runtime/pkg/client/fake"
)

// A journal may come from a newer version: what is not known stays in it.
func TestAKindThatIsNotKnownStaysOpen(t *testing.T) {
	dir := leftBy(t, Ref{Kind: "Flood", Name: "n"})
	chaos := ctrlfake.NewClientBuilder().WithScheme(chaosScheme(t)).Build()
	_, err := (&recovery{client: fake.NewClientset(), chaos: chaos}).all(t.Context(), dir)
	if err == nil || !strings.Contains(err.Error(), "not known (Flood)") || !strings.Contains(err.Error(), KindHold) {
		t.Errorf("%v, want to be told what is not known, and what is", err)
	}
	file, err := os.Open(filepath.Join(dir, "r1", JournalFile))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if open, err := Open(file); err != nil || len(open) != 1 {
		t.Errorf("open entries %v (%v), want the one that could not be undone", open, err)
	}
}

func TestAKindHasOneWayToBeUndone(t *testing.T) {
	for name, declare := range map[string]func(){
		"a second way":              func() { undoneBy(KindHold, leaveToSweep) },
		"what Chaos Mesh knows not": func() { madeOf("FloodChaos") },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s is taken", name)
				}
			}()
			declare()
		}()
	}
	if undoers[v1alpha1.KindPodChaos] == nil || chaosKinds["FloodChaos"] != nil {
		t.Errorf("Chaos Mesh's kinds are %v", chaosKinds)
	}
}
