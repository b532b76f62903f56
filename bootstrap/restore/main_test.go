package restore

import (
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	good := []string{"-custody-project=p", "-pod-name=vault-0", "-storage-dir=/d", "-from=gs://b/p/vault-x.snap"}
	none := func(string) (string, bool) { return "", false }
	for name, tt := range map[string]struct {
		more []string
		want string // in the error
	}{
		"no snapshot":    {[]string{"-from="}, "-from"},
		"a name alone":   {[]string{"-from=vault-x.snap"}, "-snapshot-url"},
		"another pod":    {[]string{"-pod-name=vault-1"}, "ordinal 0"},
		"no storage":     {[]string{"-storage-dir="}, "-storage-dir"},
		"odd seal":       {[]string{"-threshold=6"}, "-threshold"},
		"no custody":     {[]string{"-custody-project="}, "-custody-project"},
		"stray argument": {[]string{"latest"}, "unknown argument"},
	} {
		if _, err := parse(append(append([]string(nil), good...), tt.more...), none); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v; want one with %q", name, err, tt.want)
		}
	}
	for from, want := range map[string][2]string{
		"gs://b/p/vault-x.snap": {"gs://b/p", "vault-x.snap"}, "gs://b/latest": {"gs://b", "latest"},
		"file:///d/latest": {"file:///d", "latest"}, "latest": {"gs://place", "latest"}, "vault-x.snap": {"gs://place", "vault-x.snap"},
	} {
		c, err := parse(append(good, "-from="+from, "-snapshot-url=gs://place"), none)
		if err != nil {
			t.Fatal(err)
		}
		if place, name := c.split(); place != want[0] || name != want[1] {
			t.Errorf("%s: %s in %s, want %v", from, name, place, want)
		}
	}
}
