package ops

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/hashicorp/vault/api"
	"github.com/onsi/ginkgo/v2"

	"github.com/vaultproof/vaultproof/pkg/conformance"
	"github.com/vaultproof/vaultproof/pkg/leak"
	"github.com/vaultproof/vaultproof/pkg/target"
)

var ops02 = conformance.Check{
	ID: "OPS-02", Area: area, Level: conformance.Must,
	Assertion: "audit devices have log_raw off, and no token, JWT or share is in their records in the clear",
	Source:    "audit/index.mdx (log_raw, request headers, audit_non_hmac_request_keys); Vault's own scan of logs for secrets",
	Observe: "sys/audit, sys/mounts, sys/auth and sys/config/auditing/request-headers with a root token that is revoked; a canary secret written with it; " +
		"the records of every device on every pod, files that were rotated away included, searched in all encodings for the canary, the root token and every secret in custody, with a positive control; the record of the canary must be there and hold its HMAC. " +
		"Of a container's log the kubelet gives its newest file and that of its last life: a timeline's note says where the beginning was missing",
	Timeout: 10 * time.Minute, // three pods may have 320 MiB of audit files each
}

var _ = conformance.It(ops02, conformance.Conformance, func(ctx ginkgo.SpecContext, r *conformance.Case) error {
	needles, err := r.Target.Needles(ctx)
	if err != nil {
		return r.CannotTell(err)
	}
	err = r.Target.WithRoot(ctx, func(ctx context.Context, root *api.Client) error {
		return clearText{r: r, root: root, needles: needles}.judge(ctx)
	})
	if errors.Is(err, target.ErrNoPrivilege) {
		return r.Skip("sys/audit cannot be read: %v", err)
	}
	return err
})

// clearText looks for secrets in the audit log.
type clearText struct {
	r       *conformance.Case
	root    *api.Client
	needles []leak.Needle // what custody holds
}

func (c clearText) judge(ctx context.Context) error {
	list, err := devices(ctx, c.root)
	if err != nil {
		return c.r.CannotTell(err)
	}
	if err := hashed(list); err != nil {
		return err
	}
	settings, err := readClearSettings(ctx, c.root)
	if err != nil {
		return c.r.CannotTell(err)
	}
	if err := settings.judge(); err != nil {
		return err
	}
	mark, err := c.plant(ctx)
	if err != nil {
		return c.r.CannotTell(err)
	}
	found, err := c.search(ctx, list, mark)
	if err == nil && errors.Is(found.judge(mark), errGap) {
		found, err = c.search(ctx, list, mark) // a container's log is written a moment later
	}
	if err != nil {
		return c.r.CannotTell(err)
	}
	var size int64
	for _, rec := range found.records {
		size += rec.bytes
	}
	c.r.Measure("audit_logs_total", float64(len(found.records)))
	c.r.Measure("audit_logs_bytes", float64(size))
	c.r.Measure("audit_logs_cut_total", float64(len(found.cut)))
	for _, cut := range found.cut {
		c.r.Note("%s", cut)
	}
	err = found.judge(mark)
	if errors.Is(err, errUnread) {
		return c.r.CannotTell(err)
	}
	return err
}

// hashed judges the options of the devices.
func hashed(list []device) error {
	if len(list) == 0 {
		return errors.New("sys/audit lists no audit device, want two: nothing is recorded at all")
	}
	for _, d := range list {
		if raw, err := strconv.ParseBool(cmp.Or(d.options["log_raw"], "false")); raw || err != nil {
			return fmt.Errorf("audit device %s has log_raw=%s, want false: tokens and secrets are recorded as they are (audit/index.mdx)", d, d.options["log_raw"])
		}
	}
	return nil
}
