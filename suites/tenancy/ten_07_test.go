package tenancy

import (
	"net/http"
	"strings"
	"testing"
)

func TestATenantThatReadsAnothersIsSeen(t *testing.T) {
	a, b := pair[0], pair[1]
	var answers []answered403
	for _, q := range belongings(b) {
		if !strings.Contains(q.path, "tenant-b") && !strings.Contains(q.path, b.Database) {
			t.Errorf("%s is not of tenant b", q)
		}
		answers = append(answers, answered403{q, http.StatusForbidden})
	}
	if err := keptOut(a, answers); err != nil {
		t.Errorf("all refused: %v", err)
	}
	for _, status := range []int{http.StatusOK, http.StatusNotFound, http.StatusMethodNotAllowed, 0} {
		answers[3].status = status
		if err := keptOut(a, answers); err == nil || !strings.Contains(err.Error(), answers[3].path) {
			t.Errorf("status %d: %v, want %s named", status, err, answers[3].request)
		}
	}
}

func TestPoliciesThatOverlapAreSeen(t *testing.T) {
	b := map[string][]string{"tenant-ab-app": {"tenant-ab-kv/data/*"}}
	if err := apart(map[string][]string{"tenant-a-app": {"tenant-a-kv/data/*", "tenant-a-transit/encrypt/+"}}, b); err != nil {
		t.Errorf("policies of their own: %v", err)
	}
	for name, broken := range map[string]map[string][]string{
		"a glob without an end": {"tenant-a-app": {"tenant-a*"}},
		"a segment for all":     {"tenant-a-app": {"+/data/app"}},
		"the same policy":       {"tenant-ab-app": {"tenant-a-kv/*"}},
	} {
		if apart(broken, b) == nil {
			t.Errorf("%s is not seen", name)
		}
	}
}
