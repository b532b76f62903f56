package google

import (
	"fmt"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// Role is what module admin of deploy/terraform makes of a role, as far as it decides who
// gets in.
const (
	// roleName is the role's.
	roleName = "admin"
	// longest is for how long a JWT may be good (max_jwt_exp).
	longest = 5 * time.Minute
)

// role is the role that the module writes.
func role(admins ...string) map[string]any {
	return map[string]any{
		"type": "iam", "bound_service_accounts": admins, "max_jwt_exp": int(longest.Seconds()),
		"allow_gce_inference": false, "add_group_aliases": false,
		"token_policies": []string{"admin"}, "token_no_default_policy": true, "token_type": "service",
		"token_ttl": 3600, "token_max_ttl": 3600, "token_explicit_max_ttl": 3600,
	}
}

// signed is a JWT as signJwt makes it: whoever asks chooses the claims, and Google the key.
func (a *account) signed(claims jwt.Claims) (string, error) {
	return seal(jose.SigningKey{Algorithm: jose.RS256, Key: a.key}, a.keyID, claims)
}

func seal(key jose.SigningKey, id string, claims jwt.Claims) (string, error) {
	signer, err := jose.NewSigner(key, (&jose.SignerOptions{}).WithType("JWT").WithHeader("kid", id))
	if err != nil {
		return "", fmt.Errorf("signing as Google does: %w", err)
	}
	text, err := jwt.Signed(signer).Claims(claims).Serialize()
	if err != nil {
		return "", fmt.Errorf("signing as Google does: %w", err)
	}
	return text, nil
}

// claims are those of a login with a role, good for some time from now on.
func claims(of *account, role string, lasting time.Duration) jwt.Claims {
	return jwt.Claims{Subject: of.email, Audience: jwt.Audience{"vault/" + role}, Expiry: jwt.NewNumericDate(time.Now().Add(lasting))}
}

// people are the accounts of the trial.
type people struct {
	admin, left, stranger *account
}

// try is one login.
type try struct {
	what  string
	admit bool
	jwt   func() (string, error)
}

// tries are the one login that must succeed and those that must not.
func (p people) tries() []try {
	sign := func(by *account, c func() jwt.Claims) func() (string, error) {
		return func() (string, error) { return by.signed(c()) }
	}
	of := func(a *account, role string, lasting time.Duration) func() jwt.Claims {
		return func() jwt.Claims { return claims(a, role, lasting) }
	}
	const skew = 10 * time.Minute
	return []try{
		{"an admin", true, sign(p.admin, of(p.admin, roleName, time.Minute))},
		{"an account that is not listed", false, sign(p.stranger, of(p.stranger, roleName, time.Minute))},
		{"a listed account that was deleted", false, sign(p.left, of(p.left, roleName, time.Minute))},
		{"another account that says it is an admin", false, sign(p.stranger, of(p.admin, roleName, time.Minute))},
		{"another account that uses the id of an admin's key", false, func() (string, error) {
			return seal(jose.SigningKey{Algorithm: jose.RS256, Key: p.stranger.key}, p.admin.keyID, claims(p.admin, roleName, time.Minute))
		}},
		{"a JWT that takes an admin's certificate for a shared secret", false, func() (string, error) {
			return seal(jose.SigningKey{Algorithm: jose.HS256, Key: p.admin.cert}, p.admin.keyID, claims(p.admin, roleName, time.Minute))
		}},
		{"an admin for another role", false, sign(p.admin, of(p.admin, "reader", time.Minute))},
		{"an admin's JWT that has expired", false, sign(p.admin, of(p.admin, roleName, -2*time.Minute))},
		{"an admin's JWT that never expires", false, sign(p.admin, func() jwt.Claims {
			c := claims(p.admin, roleName, time.Minute)
			c.Expiry = nil
			return c
		})},
		{"an admin's JWT that is good for longer than the role allows", false, sign(p.admin, of(p.admin, roleName, 2*longest))},
		{"an admin's JWT that is good for longer than any role allows", false, sign(p.admin, of(p.admin, roleName, 2*time.Hour))},
		{"an admin whose clock is ten minutes behind", false, sign(p.admin, of(p.admin, roleName, longest-skew))},
		{"an admin whose clock is ten minutes ahead", false, sign(p.admin, of(p.admin, roleName, longest+skew))},
		{"what is no JWT at all", false, func() (string, error) { return "vaultproof.is.nobody", nil }},
	}
}
