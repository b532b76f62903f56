// Package suites gathers all specs. Importing it registers every check; import
// the packages below it one by one to have fewer.
package suites

import (
	_ "github.com/vaultproof/vaultproof/suites/bootstrap"  // BOOT
	_ "github.com/vaultproof/vaultproof/suites/isolation"  // ISO
	_ "github.com/vaultproof/vaultproof/suites/ops"        // OPS
	_ "github.com/vaultproof/vaultproof/suites/resilience" // RES
	_ "github.com/vaultproof/vaultproof/suites/routing"    // ACT
	_ "github.com/vaultproof/vaultproof/suites/tenancy"    // TEN
	_ "github.com/vaultproof/vaultproof/suites/tls"        // TLS
)
