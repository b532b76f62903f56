package tenancy

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// signedByAPIServers are the algorithms that API servers sign tokens with.
var signedByAPIServers = []jose.SignatureAlgorithm{jose.RS256, jose.RS384, jose.RS512, jose.ES256, jose.ES384, jose.ES512}

// claimsOf reads the claims of a token, and the id of the key that it names.
func claimsOf(token string) (claims map[string]any, key string, err error) {
	parsed, err := jwt.ParseSigned(token, signedByAPIServers)
	if err == nil {
		err = parsed.UnsafeClaimsWithoutVerification(&claims)
	}
	if err != nil {
		return nil, "", fmt.Errorf("reading the claims of a token that the tenant's API server made: %w", err)
	}
	return claims, parsed.Headers[0].KeyID, nil
}

// signedElsewhere is a token with the claims of another one, and under the same key id, but
// signed with the key of another cluster, which is made for this.
func signedElsewhere(token string) (string, error) {
	claims, id, err := claimsOf(token)
	if err != nil {
		return "", err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", fmt.Errorf("making the key of another cluster: %w", err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, (&jose.SignerOptions{}).WithHeader("kid", id))
	if err != nil {
		return "", fmt.Errorf("signing as another cluster: %w", err)
	}
	forged, err := jwt.Signed(signer).Claims(claims).Serialize()
	if err != nil {
		return "", fmt.Errorf("signing as another cluster: %w", err)
	}
	return forged, nil
}

// unsigned is a token with the claims of another one and without a signature, which it does
// not claim to have either.
func unsigned(token string) (string, error) {
	claims, _, err := claimsOf(token)
	if err != nil {
		return "", err
	}
	body, err := json.Marshal(claims)
	if err != nil {
		return "", fmt.Errorf("writing the claims of a token without a signature: %w", err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	return encode([]byte(`{"alg":"none","typ":"JWT"}`)) + "." + encode(body) + ".", nil
}
