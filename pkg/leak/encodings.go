package leak

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
)

type encoded struct {
	name  string
	bytes []byte
}

// encodings lists the forms in which a secret is known to leak: raw, hex in
// both cases, base64 (both alphabets, at each of the three alignments, so that
// it is found inside a longer encoded text), base64 of those, JSON- and
// URL-escaped. Equal forms are listed once.
func encodings(value []byte) []encoded {
	lower := hex.EncodeToString(value)
	list := []encoded{
		{"raw", value},
		{"hex", []byte(lower)},
		{"HEX", bytes.ToUpper([]byte(lower))},
	}
	list = append(list, aligned("base64", value)...)
	whole := base64.StdEncoding.EncodeToString(value)
	list = append(list, aligned("base64 of base64", []byte(whole))...)
	list = append(list, aligned("base64 of hex", []byte(lower))...)
	list = append(list,
		encoded{"URL-escaped", []byte(url.QueryEscape(string(value)))},
		encoded{"URL-escaped base64", []byte(url.QueryEscape(whole))},
	)
	for name, text := range map[string]string{"JSON": string(value), "JSON base64": whole} {
		if quoted, err := json.Marshal(text); err == nil {
			list = append(list, encoded{name, bytes.Trim(quoted, `"`)})
		}
	}
	return unique(list)
}

// aligned gives the base64 characters that value alone decides, for each
// position (0, 1 or 2) modulo 3 that it may have in a longer text.
func aligned(name string, value []byte) []encoded {
	var list []encoded
	for shift := range 3 {
		padded := append(make([]byte, shift), value...)
		from := (shift*8 + 5) / 6
		to := len(padded) * 8 / 6
		for alphabet, enc := range map[string]*base64.Encoding{"": base64.RawStdEncoding, " url": base64.RawURLEncoding} {
			list = append(list, encoded{
				name:  fmt.Sprintf("%s%s, alignment %d", name, alphabet, shift),
				bytes: []byte(enc.EncodeToString(padded))[from:to],
			})
		}
	}
	return list
}

func unique(list []encoded) []encoded {
	seen := map[string]bool{}
	kept := list[:0:0]
	for _, e := range list {
		if len(e.bytes) >= MinNeedle && !seen[string(e.bytes)] {
			seen[string(e.bytes)] = true
			kept = append(kept, e)
		}
	}
	return kept
}
