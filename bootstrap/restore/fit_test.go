package restore

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"testing"

	"github.com/vaultproof/vaultproof/bootstrap/snapshot"
	"google.golang.org/protobuf/encoding/protowire"
)

// split makes n shares of a key, of which t make it again.
func split(key []byte, n, t int) (shares [][]byte) {
	if t == 1 {
		return [][]byte{[]byte(base64.StdEncoding.EncodeToString(key))}
	}
	factors := make([]byte, len(key)*(t-1))
	_, _ = rand.Read(factors)
	for x := byte(1); int(x) <= n; x++ {
		var share []byte
		for i, b := range key {
			y, power := b, byte(1)
			for k := range t - 1 {
				power = times(power, x)
				y ^= times(factors[i*(t-1)+k], power)
			}
			share = append(share, y)
		}
		shares = append(shares, []byte(base64.StdEncoding.EncodeToString(append(share, x))))
	}
	return shares
}

// info is of a snapshot whose list of sums is encrypted with the key.
func info(t *testing.T, key []byte) snapshot.Info {
	t.Helper()
	block, err := aes.NewCipher(key)
	must(t, err)
	gcm, err := cipher.NewGCM(block)
	must(t, err)
	nonce := make([]byte, gcm.NonceSize())
	sealed := protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), gcm.Seal(nonce, nonce, []byte("1  state.bin\n2  meta.json\n"), nil))
	return snapshot.Info{Sums: []byte("2  meta.json\n1  state.bin\n"), Sealed: sealed} // in another order, as Vault has it at times
}

func TestField(t *testing.T) {
	// From the standard of AES, which has the same field.
	if got := times(0x57, 0x83); got != 0xc1 {
		t.Errorf("57 times 83 is %x, want c1", got)
	}
	for a := 1; a < 256; a++ {
		if got := times(byte(a), inverse(byte(a))); got != 1 {
			t.Fatalf("%d times its inverse is %d", a, got)
		}
	}
}

func TestFit(t *testing.T) {
	key, other := bytes.Repeat([]byte("k"), 32), bytes.Repeat([]byte("o"), 32)
	five, one := split(key, 5, 3), split(key, 1, 1)
	for name, tt := range map[string]struct {
		shares [][]byte
		want   bool
	}{
		"the first three": {five[:3], true}, "others": {[][]byte{five[4], five[0], five[2]}, true}, "more than needed": {five[:4], true},
		"too few": {five[:2], false}, "of another Vault": {split(other, 5, 3)[:3], false}, "one of another Vault": {append(split(other, 5, 3)[2:3], five[:2]...), false},
		"a single one": {one, true}, "a single one of several": {five[:1], false},
	} {
		if got, err := fit(info(t, key), tt.shares); err != nil || got != tt.want {
			t.Errorf("%s: fits %t, error %v; want %t", name, got, err, tt.want)
		}
	}
	swapped := info(t, key)
	swapped.Sums = []byte("3  meta.json\n1  state.bin\n")
	if ok, err := fit(swapped, five[:3]); ok || err != nil {
		t.Errorf("a list of other sums: fits %t, error %v", ok, err)
	}
	for name, shares := range map[string][][]byte{
		"the same twice": {five[0], five[0], five[1]}, "other lengths": {five[0], []byte("AAAA"), five[1]}, "no base64": {[]byte("*"), five[0]}, "empty": {{}, {}},
	} {
		if ok, err := fit(info(t, key), shares); ok || err == nil || errors.Is(err, errUnknown) {
			t.Errorf("%s: fits %t, error %v; want an error", name, ok, err)
		} else if bytes.Contains([]byte(err.Error()), five[0]) {
			t.Errorf("%s: the error holds a share", name)
		}
	}
	for name, sealed := range map[string][]byte{"empty": nil, "another form": {0x12, 1, 1}, "torn": {0x0a, 9, 1}, "short": {0x0a, 1, 1}} {
		if ok, err := fit(snapshot.Info{Sealed: sealed}, five[:3]); ok || !errors.Is(err, errUnknown) {
			t.Errorf("%s: fits %t, error %v; want unknown", name, ok, err)
		}
	}
}
