package conformance

import (
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/util/version"
)

// appliesTo tells whether the demand is made of this version of Vault.
func (c Check) appliesTo(vault string) (bool, error) {
	if c.Since == "" {
		return true, nil
	}
	have, err := version.ParseGeneric(vault)
	if err != nil {
		return false, fmt.Errorf("telling whether %s applies to Vault %q: %w", c.ID, vault, err)
	}
	since, err := version.ParseGeneric(c.Since)
	if err != nil {
		return false, fmt.Errorf("reading since when %s applies: %w", c.ID, err)
	}
	return have.AtLeast(since), nil
}

// narrow takes the checks that do not apply to the target's version out of what
// the verdict demands.
func (s *session) narrow(checks []Check) error {
	for _, c := range checks {
		applies, err := c.appliesTo(s.about.VaultVersion)
		if err != nil {
			return err
		}
		if !applies {
			s.required = slices.DeleteFunc(slices.Clone(s.required), func(id string) bool { return id == c.ID })
		}
	}
	return nil
}
