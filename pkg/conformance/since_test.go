package conformance

import (
	"slices"
	"testing"
)

func TestSince(t *testing.T) {
	checks := []Check{{ID: "BOOT-01"}, {ID: "BOOT-09", Since: "2.0"}}
	for vault, want := range map[string][]string{
		"1.21.1":     {"BOOT-01"},
		"2.0.0":      {"BOOT-01", "BOOT-09"},
		"2.1.3+ent":  {"BOOT-01", "BOOT-09"},
		"2.0.0-rc1":  {"BOOT-01", "BOOT-09"},
		"10.0.0+hsm": {"BOOT-01", "BOOT-09"},
	} {
		s := &session{required: []string{"BOOT-01", "BOOT-09"}}
		s.about.VaultVersion = vault
		if err := s.narrow(checks); err != nil || !slices.Equal(s.required, want) {
			t.Errorf("Vault %s is asked for %v (error %v), want %v", vault, s.required, err, want)
		}
	}
	s := &session{required: []string{"BOOT-09"}}
	s.about.VaultVersion = "unknown"
	if err := s.narrow(checks); err == nil {
		t.Error("a version that cannot be read demands nothing, and nobody is told")
	}
}
