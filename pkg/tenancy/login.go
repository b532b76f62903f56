package tenancy

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/hashicorp/vault/api"
)

// Login asks Vault, through the door, for a token by a role of a Kubernetes auth method.
// Its errors never hold the JWT; Status tells what Vault answered.
func Login(ctx context.Context, door *Door, mount, role, jwt string) (*api.SecretAuth, error) {
	client, err := door.Client("")
	if err != nil {
		return nil, err
	}
	secret, err := client.Logical().WriteWithContext(ctx, "auth/"+mount+"/login", map[string]any{"role": role, "jwt": jwt})
	if err != nil {
		return nil, fmt.Errorf("logging in at auth/%s with role %s: %w", mount, role, err)
	}
	if secret == nil || secret.Auth == nil || secret.Auth.ClientToken == "" {
		return nil, fmt.Errorf("logging in at auth/%s with role %s: Vault answered without a token", mount, role)
	}
	return secret.Auth, nil
}

// Status is the HTTP status with which Vault answered; 200 for no error, and 0 if it did not
// answer.
func Status(err error) int {
	if err == nil {
		return http.StatusOK
	}
	var answer *api.ResponseError
	if errors.As(err, &answer) {
		return answer.StatusCode
	}
	return 0
}
