package conformance

import (
	_ "embed"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

//go:embed profiles.yaml
var profilesYAML []byte

// Profiles returns what each profile demands, as globs over check ids.
func Profiles() (map[string][]string, error) {
	profiles := map[string][]string{}
	if err := yaml.UnmarshalStrict(profilesYAML, &profiles); err != nil {
		return nil, fmt.Errorf("parsing the profiles: %w", err)
	}
	return profiles, nil
}

// demanded returns the ids that a profile demands of the checks given.
func demanded(profile string, checks []Check) ([]string, error) {
	profiles, err := Profiles()
	if err != nil {
		return nil, err
	}
	globs, ok := profiles[profile]
	if !ok {
		return nil, fmt.Errorf("there is no profile %q: choose one of %s with -profile", profile, strings.Join(slices.Sorted(maps.Keys(profiles)), ", "))
	}
	ids, err := match(globs, checks)
	if err == nil && len(ids) == 0 {
		err = fmt.Errorf("profile %s demands no check that is compiled in: import the packages of its specs", profile)
	}
	return ids, err
}

// chosen narrows the demanded ids down to those that -run-checks names.
func chosen(required []string, globs []string, checks []Check) ([]string, error) {
	if len(globs) == 0 {
		return required, nil
	}
	ids, err := match(globs, checks)
	if err == nil && len(ids) == 0 {
		err = fmt.Errorf("-run-checks %s names no check: -list shows them all", strings.Join(globs, ","))
	}
	return ids, err
}

// match picks the checks that one of the globs names and none that begins with an
// exclamation mark does.
func match(globs []string, checks []Check) ([]string, error) {
	var ids []string
	for _, c := range checks {
		in, out := false, false
		for _, g := range globs {
			glob, excludes := strings.CutPrefix(g, "!")
			hit, err := path.Match(glob, c.ID)
			if err != nil {
				return nil, fmt.Errorf("%q is no glob over check ids, such as ACT-*: %w", g, err)
			}
			in, out = in || hit && !excludes, out || hit && excludes
		}
		if in && !out {
			ids = append(ids, c.ID)
		}
	}
	return ids, nil
}

func idsOf(checks []Check) []string {
	ids := make([]string, 0, len(checks))
	for _, c := range checks {
		ids = append(ids, c.ID)
	}
	return ids
}
