package ops

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"

	"github.com/vaultproof/vaultproof/pkg/target"
)

// offEndpoints are settings that must be off.
var offEndpoints = []string{"raw_storage_endpoint", "introspection_endpoint"}

// endpointSettings reads the settings by place, "where: setting".
func endpointSettings(ctx context.Context, t *target.Target) (map[string]bool, error) {
	settings := map[string]bool{}
	files, err := t.ConfigFiles(ctx)
	if err != nil {
		return nil, err
	}
	for name, text := range files {
		for setting, on := range settingsIn(text) {
			settings["ConfigMap "+name+": "+setting] = on
		}
	}
	secret, err := t.ReadPrivileged(ctx, "sys/config/state/sanitized")
	switch {
	case errors.Is(err, target.ErrNoPrivilege) && len(files) > 0: // what is configured has to do
	case err != nil:
		return nil, err
	default:
		for _, setting := range offEndpoints {
			if on, told := secret.Data[setting].(bool); told {
				settings["sys/config/state/sanitized: "+setting] = on
			}
		}
	}
	return settings, nil
}

var endpointLine = regexp.MustCompile(`(?m)(?:^|[{,])[ \t]*"?(raw_storage_endpoint|introspection_endpoint)"?[ \t]*[=:][ \t]*"?([A-Za-z0-9]+)"?`)

// settingsIn finds the settings in the text of a file of Vault's, HCL or JSON. The
// default of both is off.
func settingsIn(text string) map[string]bool {
	found := map[string]bool{}
	for _, m := range endpointLine.FindAllStringSubmatch(text, -1) {
		on, err := strconv.ParseBool(m[2])
		found[m[1]] = found[m[1]] || on || err != nil
	}
	return found
}

// off judges the settings.
func off(settings map[string]bool) error {
	for _, place := range slices.Sorted(maps.Keys(settings)) {
		if settings[place] {
			return fmt.Errorf("%s is on, want it off: with it a privileged token reads storage as it is, or Vault's inside (audit/index.mdx)", place)
		}
	}
	return nil
}
