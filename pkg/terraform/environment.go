package terraform

import "os"

// childLife is how long the token lives that the provider makes itself for each command, in
// seconds. A command takes seconds; what is left of its token ends by itself.
const childLife = "600"

// passedOn are the variables of this process that a tool may need to reach a registry, and
// to find its way about the machine. No other gets to it: neither a VAULT_TOKEN of the user
// nor a TF_LOG, with which the provider writes tokens down.
var passedOn = []string{
	"PATH", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR",
	"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
}

// environment is all that a command gets.
func (w *Workspace) environment(address, token string) map[string]string {
	env := map[string]string{
		// The provider would take a token from the user's home.
		"HOME":               w.path(homeDir),
		"TF_CLI_CONFIG_FILE": w.path(settingsFile),
		// Nothing is told to HashiCorp.
		"CHECKPOINT_DISABLE": "1",
		"VAULT_ADDR":         address,
		"VAULT_TOKEN":        token,
		// Said, because a file of the user might say otherwise.
		"VAULT_SKIP_VERIFY":       "false",
		"TERRAFORM_VAULT_MAX_TTL": childLife,
	}
	for _, name := range passedOn {
		if value, set := os.LookupEnv(name); set {
			env[name] = value
		}
	}
	if len(w.config.Vault.CA) > 0 {
		env["VAULT_CACERT"] = w.path(authorityFile)
	}
	if w.config.Vault.ServerName != "" {
		env["VAULT_TLS_SERVER_NAME"] = w.config.Vault.ServerName
	}
	return env
}
