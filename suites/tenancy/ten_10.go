package tenancy

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/onsi/ginkgo/v2"

	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/tenancy/google"
	"github.com/vaultproof/vaultproof/suites/labpod"
)

// adminsFile holds what came of each login, in the run's directory.
const adminsFile = "gcp-logins.json"

// Nobody here can sign as Google, and a target that trusts somebody else for it would be no
// target any more. So the backend is tried in a Vault of the target's own binary: it lets the
// addresses of Google's services be set, and a stand-in answers there. What that does not show
// is that Google itself signs and answers as documented.
var ten10 = conformance.Check{
	ID: "TEN-10", Area: area, Level: conformance.Must, Manner: conformance.Apart,
	Assertion: "by GCP auth, as the Terraform module sets it up, the listed service accounts log in and get the policy admin; nobody else does, nor a JWT of theirs that has expired, is good for too long, was signed by a clock that is off, or by another key",
	Source:    "HashiCorp Vault, auth/gcp: IAM login, max_jwt_exp",
	Observe:   "in a pod of its own, a Vault of the target's binary and image whose GCP auth asks a stand-in for Google's certificates and accounts, and logins with JWTs that a signer of its own made",
	Timeout:   10 * time.Minute,
}

var _ = conformance.It(ten10, conformance.Conformance, func(ctx ginkgo.SpecContext, r *conformance.Case) error {
	raw, err := labpod.Run(ctx, r, google.Question)
	if err != nil {
		return r.CannotTell(err)
	}
	if err := os.WriteFile(filepath.Join(r.Dir, adminsFile), raw, 0o644); err != nil {
		return r.CannotTell(fmt.Errorf("keeping what came of the logins: %w", err))
	}
	var trial google.Trial
	if err := json.Unmarshal(raw, &trial); err != nil {
		return r.CannotTell(fmt.Errorf("reading what came of the logins: %w", err))
	}
	refusals := 0
	for _, l := range trial.Logins {
		if l.Status == 0 {
			return r.Inconclusive("the Vault of the lab did not answer when %s logged in: %s", l.What, l.Reason)
		}
		if l.Status != http.StatusOK {
			refusals++
		}
	}
	r.Measure("refused_logins_total", float64(refusals))
	return trial.Judge()
})
