package load

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strings"
	"sync"

	"github.com/vaultproof/vaultproof/pkg/history"
)

const (
	// TransitKey is the name of the key. Vault makes it at the first encryption.
	TransitKey = "load"
	// sealedTexts is how many ciphertexts are kept, to be decrypted at some time.
	sealedTexts = 256
	// plainBytes is the length of what is encrypted.
	plainBytes = 32
)

// transit encrypts by turns, and decrypts what was encrypted at any time before.
type transit struct {
	*stream
	key     string
	encrypt bool // whether the turn before was an encryption

	mu     sync.Mutex
	sealed []sealedText // written by operations
}

// sealedText is a ciphertext, and the digest of what is in it.
type sealedText struct{ text, digest string }

func newTransit(s *stream) *transit { return &transit{stream: s, key: s.key(TransitKey)} }

func (x *transit) next() task {
	x.encrypt = !x.encrypt
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.encrypt || len(x.sealed) == 0 {
		return x.encryption()
	}
	return x.decryption(x.sealed[x.rng.IntN(len(x.sealed))])
}

func (x *transit) encryption() task {
	plain := make([]byte, plainBytes)
	_, _ = rand.Read(plain) // never fails
	op := history.Op{Kind: history.Encrypt, Key: x.key, Value: digest(plain)}
	// Where a place in the list is overwritten, at random: old and new texts are
	// decrypted.
	place := x.rng.IntN(sealedTexts)
	return task{op: op, do: func(ctx context.Context, t turn) history.Outcome {
		op := t.begin(op)
		got := x.client.encrypt(ctx, plain)
		got.into(&op)
		t.end(op, false)
		if got.outcome == history.OK {
			x.keep(sealedText{got.value, op.Value}, place)
		}
		return op.Outcome
	}}
}

func (x *transit) decryption(sealed sealedText) task {
	op := history.Op{Kind: history.Decrypt, Key: x.key, Want: sealed.digest}
	return task{op: op, do: func(ctx context.Context, t turn) history.Outcome {
		op := t.begin(op)
		got := x.client.decrypt(ctx, sealed.text)
		got.into(&op)
		op.Value = got.value
		t.end(op, false)
		return history.OK // it has no effect, and so is never in doubt
	}}
}

// keep remembers a ciphertext; in a full list it takes the given place.
func (x *transit) keep(sealed sealedText, place int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.sealed) < sealedTexts {
		x.sealed = append(x.sealed, sealed)
		return
	}
	x.sealed[place] = sealed
}

// final has nothing to ask: every decryption was judged when it ended.
func (x *transit) final(context.Context, *history.Final) error { return nil }

// digest is short, and tells a plaintext from any other.
func digest(plain []byte) string {
	sum := sha256.Sum256(plain)
	return hex.EncodeToString(sum[:8])
}

// encrypt gives the ciphertext as the reply's value.
func (c *client) encrypt(ctx context.Context, plain []byte) reply {
	body := []byte(`{"plaintext":"` + base64.StdEncoding.EncodeToString(plain) + `"}`)
	return c.do(ctx, request{method: http.MethodPost, path: c.mount + "/encrypt/" + TransitKey, body: body}).judge(
		func(body []byte, r *reply) string {
			var got struct {
				Data struct {
					Ciphertext string `json:"ciphertext"`
				} `json:"data"`
			}
			if json.Unmarshal(body, &got) != nil || !strings.HasPrefix(got.Data.Ciphertext, "vault:v") {
				return "the answer to the encryption holds no ciphertext"
			}
			r.value = got.Data.Ciphertext
			return ""
		})
}

// decrypt gives the digest of what came out as the reply's value.
func (c *client) decrypt(ctx context.Context, text string) reply {
	body := []byte(`{"ciphertext":"` + text + `"}`)
	a := c.do(ctx, request{method: http.MethodPost, path: c.mount + "/decrypt/" + TransitKey, body: body})
	r := a.judge(func(body []byte, r *reply) string {
		var got struct {
			Data struct {
				Plaintext []byte `json:"plaintext"` // base64
			} `json:"data"`
		}
		if json.Unmarshal(body, &got) != nil || got.Data.Plaintext == nil {
			return "the answer to the decryption holds no plaintext"
		}
		r.value = digest(got.Data.Plaintext)
		return ""
	})
	// Vault refuses a ciphertext that is none of the key's, and one of a version
	// of the key that it does not have (any more), as a bad request.
	r.denied = a.status == http.StatusBadRequest
	return harmless(r)
}
