package restore

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"errors"
	"slices"
	"strings"

	"github.com/vaultproof/vaultproof/bootstrap/snapshot"
	"google.golang.org/protobuf/encoding/protowire"
)

// errUnknown: whether the shares fit cannot be told, because this version does
// not understand how the list of sums is encrypted.
var errUnknown = errors.New("the snapshot does not tell whether the shares fit")

// fit tells whether the shares (base64) open the snapshot, before anything is
// changed: with the key that they make, Vault encrypted the snapshot's list of
// sums.
func fit(info snapshot.Info, shares [][]byte) (bool, error) {
	sealed, err := blob(info.Sealed)
	if err != nil {
		return false, err
	}
	key, err := combine(shares)
	if err != nil {
		return false, err
	}
	defer clear(key)
	block, err := aes.NewCipher(key)
	if err != nil {
		return false, nil // the shares of a key of another length
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		return false, errUnknown
	}
	if len(sealed) < gcm.NonceSize() {
		return false, errUnknown
	}
	sums, err := gcm.Open(nil, sealed[:gcm.NonceSize()], sealed[gcm.NonceSize():], nil)
	return err == nil && slices.Equal(sorted(sums), sorted(info.Sums)), nil
}

// sorted gives the lines of a list of sums, which Vault writes in any order.
func sorted(list []byte) []string { return slices.Sorted(strings.Lines(string(list))) }

// blob takes the encrypted bytes out of their envelope, where they are field 1.
func blob(message []byte) ([]byte, error) {
	number, kind, n := protowire.ConsumeTag(message)
	if n < 0 || number != 1 || kind != protowire.BytesType {
		return nil, errUnknown
	}
	sealed, m := protowire.ConsumeBytes(message[n:])
	if m < 0 {
		return nil, errUnknown
	}
	return sealed, nil
}

// combine makes the key of its shares, as Vault does: each byte of the key is
// the value at 0 of a polynomial over GF(256), each share holds the values at
// one point, and the point in its last byte. A single share is the key.
func combine(shares [][]byte) ([]byte, error) {
	parts := make([][]byte, len(shares))
	defer func() {
		for _, p := range parts {
			clear(p)
		}
	}()
	for i, share := range shares {
		parts[i] = make([]byte, base64.StdEncoding.DecodedLen(len(share)))
		n, err := base64.StdEncoding.Decode(parts[i], share)
		if err != nil {
			return nil, errors.New("a share in custody is not base64")
		}
		parts[i] = parts[i][:n]
		if n != len(parts[0]) || n < 2 {
			return nil, errors.New("the shares in custody are not all of one length")
		}
	}
	if len(parts) == 1 {
		return bytes.Clone(parts[0]), nil
	}
	last := len(parts[0]) - 1
	key := make([]byte, last)
	for i, part := range parts {
		weight := byte(1)
		for j, other := range parts {
			switch {
			case i == j:
			case part[last] == other[last]:
				return nil, errors.New("two secrets in custody hold the same share")
			default:
				weight = times(weight, times(other[last], inverse(other[last]^part[last])))
			}
		}
		for k := range key {
			key[k] ^= times(part[k], weight)
		}
	}
	return key, nil
}

// times multiplies in GF(256) with the polynomial of AES.
func times(a, b byte) (product byte) {
	for range 8 {
		product ^= a & -(b & 1)
		a = a<<1 ^ 0x1b&-(a>>7)
		b >>= 1
	}
	return product
}

// inverse is a to the power of 254.
func inverse(a byte) byte {
	out := a
	for range 6 {
		out = times(times(out, out), a)
	}
	return times(out, out)
}
