package custody

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"path"
	"slices"

	secretmanager "cloud.google.com/go/secretmanager/apiv1"
	"cloud.google.com/go/secretmanager/apiv1/secretmanagerpb"
	"google.golang.org/api/iterator"
)

// Client is a Store over Secret Manager's gRPC API. Its methods are safe for
// concurrent use. Reads are retried by the official client's own policy on
// UNAVAILABLE and RESOURCE_EXHAUSTED until ctx ends (60 s if it has no
// deadline); writes are never retried, for only the caller knows whether
// doing them twice is right.
type Client struct {
	api     *secretmanager.Client
	project string
}

var _ Store = (*Client)(nil)

// castagnoli is the polynomial of CRC32C.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Close releases the connection.
func (c *Client) Close() error {
	if err := c.api.Close(); err != nil {
		return fmt.Errorf("custody: closing the connection: %w", err)
	}
	return nil
}

func (c *Client) parent() string { return "projects/" + c.project }

func (c *Client) secret(id string) string { return c.parent() + "/secrets/" + id }

func (c *Client) version(id, version string) string { return c.secret(id) + "/versions/" + version }

// Create implements Store.
func (c *Client) Create(ctx context.Context, id string) error {
	return attempt(ctx, "create", c.secret(id), nil, func(ctx context.Context) error {
		_, err := c.api.CreateSecret(ctx, &secretmanagerpb.CreateSecretRequest{
			Parent:   c.parent(),
			SecretId: id,
			Secret: &secretmanagerpb.Secret{
				Labels: map[string]string{"managed-by": "vaultproof"},
				Replication: &secretmanagerpb.Replication{
					Replication: &secretmanagerpb.Replication_Automatic_{Automatic: &secretmanagerpb.Replication_Automatic{}},
				},
			},
		})
		return err
	})
}

// Add implements Store.
func (c *Client) Add(ctx context.Context, id string, payload []byte) (string, error) {
	sum := int64(crc32.Checksum(payload, castagnoli))
	var stored *secretmanagerpb.SecretVersion
	err := attempt(ctx, "add a version to", c.secret(id), payload, func(ctx context.Context) (err error) {
		stored, err = c.api.AddSecretVersion(ctx, &secretmanagerpb.AddSecretVersionRequest{
			Parent:  c.secret(id),
			Payload: &secretmanagerpb.SecretPayload{Data: payload, DataCrc32C: &sum},
		})
		return err
	})
	if err != nil {
		return "", err
	}
	if !stored.GetClientSpecifiedPayloadChecksum() {
		return "", &Error{Op: "add a version to", Resource: c.secret(id), Kind: ErrCorrupt,
			Err: errors.New("the server did not check the payload's checksum"), Remedy: "read it back before relying on it"}
	}
	return path.Base(stored.GetName()), nil
}

// Read implements Store.
func (c *Client) Read(ctx context.Context, id string) (Secret, error) {
	s, err := c.ReadVersion(ctx, id, "latest")
	if !errors.Is(err, ErrState) {
		return s, err
	}
	// "latest" is the newest version whatever its state; ours was disabled or
	// destroyed, so look for the newest that is enabled.
	versions, listErr := c.Versions(ctx, id)
	if listErr != nil {
		return Secret{}, listErr
	}
	for _, v := range versions {
		if v.State == Enabled {
			return c.ReadVersion(ctx, id, v.Name)
		}
	}
	return Secret{}, &Error{Op: "read", Resource: c.secret(id), Kind: ErrNotFound,
		Err: fmt.Errorf("none of its %d versions is enabled", len(versions)), Remedy: "enable a version or add one"}
}

// ReadVersion returns one version by its number, or "latest": the newest
// whatever its state. ErrState if it is disabled or destroyed.
func (c *Client) ReadVersion(ctx context.Context, id, version string) (Secret, error) {
	name := c.version(id, version)
	var got *secretmanagerpb.AccessSecretVersionResponse
	err := attempt(ctx, "read", name, nil, func(ctx context.Context) (err error) {
		got, err = c.api.AccessSecretVersion(ctx, &secretmanagerpb.AccessSecretVersionRequest{Name: name})
		return err
	})
	if err != nil {
		return Secret{}, err
	}
	payload := got.GetPayload()
	data := payload.GetData()
	if payload == nil || payload.DataCrc32C == nil || int64(crc32.Checksum(data, castagnoli)) != payload.GetDataCrc32C() {
		return Secret{}, &Error{Op: "read", Resource: c.secret(id) + "/versions/" + path.Base(got.GetName()), Kind: ErrCorrupt,
			Err:    errors.New("the payload's CRC32C is not the one that was sent with it"),
			Remedy: "read again; if it stays so, restore this version from a good copy"}
	}
	return Secret{Payload: data, Version: path.Base(got.GetName())}, nil
}

// Versions implements Store.
func (c *Client) Versions(ctx context.Context, id string) ([]Version, error) {
	var out []Version
	err := attempt(ctx, "list the versions of", c.secret(id), nil, func(ctx context.Context) error {
		it := c.api.ListSecretVersions(ctx, &secretmanagerpb.ListSecretVersionsRequest{Parent: c.secret(id)})
		for {
			v, err := it.Next()
			if errors.Is(err, iterator.Done) {
				return nil
			} else if err != nil {
				return err
			}
			out = append(out, Version{Name: path.Base(v.GetName()), State: stateOf(v.GetState()), Created: v.GetCreateTime().AsTime()})
		}
	})
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(out, func(a, b Version) int { return number(b.Name) - number(a.Name) })
	return out, nil
}

// List implements Store.
func (c *Client) List(ctx context.Context) ([]string, error) {
	var out []string
	err := attempt(ctx, "list the secrets of", c.parent(), nil, func(ctx context.Context) error {
		it := c.api.ListSecrets(ctx, &secretmanagerpb.ListSecretsRequest{Parent: c.parent()})
		for {
			s, err := it.Next()
			if errors.Is(err, iterator.Done) {
				return nil
			} else if err != nil {
				return err
			}
			out = append(out, path.Base(s.GetName()))
		}
	})
	if err != nil {
		return nil, err
	}
	slices.Sort(out)
	return out, nil
}

// Disable implements Store.
func (c *Client) Disable(ctx context.Context, id, version string) error {
	return attempt(ctx, "disable", c.version(id, version), nil, func(ctx context.Context) error {
		_, err := c.api.DisableSecretVersion(ctx, &secretmanagerpb.DisableSecretVersionRequest{Name: c.version(id, version)})
		return err
	})
}

// Enable makes a disabled version readable again.
func (c *Client) Enable(ctx context.Context, id, version string) error {
	return attempt(ctx, "enable", c.version(id, version), nil, func(ctx context.Context) error {
		_, err := c.api.EnableSecretVersion(ctx, &secretmanagerpb.EnableSecretVersionRequest{Name: c.version(id, version)})
		return err
	})
}

// Destroy implements Store.
func (c *Client) Destroy(ctx context.Context, id, version string) error {
	return attempt(ctx, "destroy", c.version(id, version), nil, func(ctx context.Context) error {
		_, err := c.api.DestroySecretVersion(ctx, &secretmanagerpb.DestroySecretVersionRequest{Name: c.version(id, version)})
		return err
	})
}

// Delete removes a secret with all its versions. ErrNotFound if there is none.
func (c *Client) Delete(ctx context.Context, id string) error {
	return attempt(ctx, "delete", c.secret(id), nil, func(ctx context.Context) error {
		return c.api.DeleteSecret(ctx, &secretmanagerpb.DeleteSecretRequest{Name: c.secret(id)})
	})
}

// API is the official client underneath, for calls that Store does not have
// (IAM policies, labels).
func (c *Client) API() *secretmanager.Client { return c.api }

// attempt runs call and turns its error into an *Error.
func attempt(ctx context.Context, op, resource string, secret []byte, call func(context.Context) error) error {
	var last error
	err := call(context.WithValue(ctx, lastKey{}, &last))
	return wrap(op, resource, err, last, secret)
}

func stateOf(s secretmanagerpb.SecretVersion_State) State {
	switch s {
	case secretmanagerpb.SecretVersion_ENABLED:
		return Enabled
	case secretmanagerpb.SecretVersion_DISABLED:
		return Disabled
	case secretmanagerpb.SecretVersion_DESTROYED:
		return Destroyed
	}
	return State(s.String())
}

// number of a version; 0 for what is no number, which sorts it last.
func number(name string) int {
	n := 0
	for _, r := range name {
		if r < '0' || r > '9' {
			return 0
		}
		n = n*10 + int(r-'0')
	}
	return n
}
