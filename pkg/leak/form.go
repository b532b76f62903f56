package leak

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
)

// form is one way in which a needle may be written.
type form struct {
	name string
	text []byte
	// secret is where in text the secret begins. What is before it, like "hvs.",
	// is the same in all secrets of the kind.
	secret int
	// window is how many bytes of text at least MinNeedle bytes of the needle
	// come to: a part of that length counts as the secret.
	window int
}

// publicPrefix is what tokens of one kind begin with: Vault's with their kind and
// the first bytes of a protobuf message, a JWT with its header and claims, of
// which only the signature is secret.
var publicPrefix = regexp.MustCompile(`^(?:hv[sbr]\.(?:CAESI)?|[sbr]\.|eyJ[\w-]+\.[\w-]+\.)`)

// forms lists the ways in which a secret is known to leak. Equal forms are
// listed once, under the simplest name.
func forms(value []byte) []form {
	raw := form{name: "raw", text: bytes.Clone(value), window: MinNeedle}
	if public := publicPrefix.FindIndex(value); public != nil && len(value)-public[1] >= MinNeedle {
		raw.secret = public[1]
	}
	lower := raw.spelled("hex", bytewise(value, "%02x"), "")
	upper := raw.spelled("HEX", bytewise(value, "%02X"), "")
	list := []form{
		raw, lower, upper,
		raw.spelled("hex with colons", bytewise(value, "%02x"), ":"),
		raw.spelled("HEX with colons", bytewise(value, "%02X"), ":"),
		raw.spelled("hex with spaces", bytewise(value, "%02x"), " "),
		raw.spelled("HEX with spaces", bytewise(value, "%02X"), " "),
		raw.spelled("hex of Go's %#v", bytewise(value, "0x%02x"), ", "),
		raw.spelled("decimals of Go's %v", bytewise(value, "%d"), " "),
		raw.spelled("decimals of JSON", bytewise(value, "%d"), ","),
		raw.spelled("decimals of a list", bytewise(value, "%d"), ", "),
		raw.spelled("Go's %q", goQuoted(value, `\`), ""),
		raw.spelled("Go's %q in JSON", goQuoted(value, `\\`), ""),
		raw.spelled("JSON", jsonQuoted(value), ""),
	}
	list = append(list, escaped(raw)...)
	for shift := range 3 {
		for _, plain := range raw.base64(shift) {
			list = append(list, plain)
			list = append(list, escaped(plain)...)
		}
	}
	whole := raw.base64(0)
	for _, inner := range append([]form{lower, upper}, append(whole, jsonEscaped(whole[0])...)...) {
		for shift := range 3 {
			list = append(list, inner.base64(shift)...)
		}
	}
	return unique(list)
}

// escaped gives f as it stands in a URL, once and twice escaped, and in JSON.
func escaped(f form) []form {
	var list []form
	for _, style := range []struct{ format, special string }{
		{"%%%02X", "+/"}, {"%%%02x", "+/"}, {"%%%02X", "/"}, {"%%25%02X", "+/"}, {"%%25%02x", "+/"},
	} {
		name := "URL-escaped"
		if strings.HasPrefix(style.format, "%%25") {
			name = "URL-escaped twice"
		}
		list = append(list, f.spelled(name+" "+f.name, urlEscaped(f.text, style.format, style.special), ""))
	}
	return append(list, jsonEscaped(f)...)
}

// jsonEscaped gives f in a JSON string, the way that various encoders escape the
// two special characters of base64.
func jsonEscaped(f form) []form {
	var list []form
	for _, replace := range []*strings.Replacer{
		strings.NewReplacer("/", `\/`),
		strings.NewReplacer("+", `\u002b`),
		strings.NewReplacer("+", `\u002B`),
		strings.NewReplacer("/", `\/`, "+", `\u002b`),
		strings.NewReplacer("/", `\/`, "+", `\u002B`),
		strings.NewReplacer("/", `\u002f`, "+", `\u002b`),
		strings.NewReplacer("/", `\u002F`, "+", `\u002B`),
	} {
		units := bytewise(f.text, "%c")
		for i := range units {
			if f.text[i] < utf8.RuneSelf {
				units[i].text = replace.Replace(units[i].text)
			} else {
				units[i].text = string(f.text[i : i+1])
			}
		}
		list = append(list, f.spelled("JSON-escaped "+f.name, units, ""))
	}
	return list
}

// unit is how some bytes of a value are spelled.
type unit struct {
	text string
	of   int // how many bytes of the value
}

// spelled is f written as units with a separator between them.
func (f form) spelled(name string, units []unit, separator string) form {
	spelled := form{name: name, secret: -1}
	at := 0
	// The window slides over the units: from is its first one, of counts the
	// bytes of the value within it, and size its length when written.
	from, of, size := 0, 0, 0
	for i, u := range units {
		if i > 0 {
			spelled.text = append(spelled.text, separator...)
		}
		if spelled.secret < 0 && at >= f.secret {
			spelled.secret = len(spelled.text)
		}
		spelled.text = append(spelled.text, u.text...)
		at += u.of
		if spelled.secret < 0 {
			from = i + 1
			continue
		}
		of, size = of+u.of, size+len(u.text)+len(separator)
		for of-units[from].of >= f.window {
			of, size = of-units[from].of, size-len(units[from].text)-len(separator)
			from++
		}
		if written := size - len(separator); of >= f.window && (spelled.window == 0 || written < spelled.window) {
			spelled.window = written
		}
	}
	return spelled
}

// base64 gives, in both alphabets, the characters that f alone decides if it
// stands at a position of the given remainder modulo 3 in what was encoded.
func (f form) base64(shift int) []form {
	padded := append(make([]byte, shift), f.text...)
	from, to := (shift*8+5)/6, len(padded)*8/6
	name := "base64"
	if f.name != "raw" {
		name += " of " + f.name
	}
	var list []form
	for _, alphabet := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		list = append(list, form{
			name:   name,
			text:   []byte(alphabet.EncodeToString(padded))[from:to],
			secret: ((shift+f.secret)*8+5)/6 - from,
			window: (f.window*8 - 4) / 6, // up to 4 bits at its ends are shared with neighbours
		})
		name = strings.Replace(name, "base64", "base64url", 1)
	}
	return list
}

func bytewise(value []byte, format string) []unit {
	units := make([]unit, len(value))
	for i, b := range value {
		units[i] = unit{text: fmt.Sprintf(format, b), of: 1}
	}
	return units
}

// goQuoted spells value as strconv.Quote does, with the given backslash.
func goQuoted(value []byte, backslash string) []unit {
	var units []unit
	for len(value) > 0 {
		_, size := utf8.DecodeRune(value)
		quoted := strconv.Quote(string(value[:size]))
		quoted = quoted[1 : len(quoted)-1]
		units = append(units, unit{text: strings.ReplaceAll(quoted, `\`, backslash), of: size})
		value = value[size:]
	}
	return units
}

// jsonQuoted spells each byte as a character of a JSON string.
func jsonQuoted(value []byte) []unit {
	units := bytewise(value, "%c")
	for i, b := range value {
		switch {
		case b < ' ' || b > '~':
			units[i].text = fmt.Sprintf(`\u%04x`, b)
		case b == '"' || b == '\\':
			units[i].text = `\` + units[i].text
		}
	}
	return units
}

// urlEscaped spells what a URL does not take as it is in the given format. Of the
// characters of base64 only the special ones are escaped: the path of a URL may
// hold a plus.
func urlEscaped(text []byte, format, special string) []unit {
	units := make([]unit, len(text))
	for i, b := range text {
		plain := b >= '0' && b <= '9' || b >= 'A' && b <= 'Z' || b >= 'a' && b <= 'z' || strings.IndexByte("-_.~", b) >= 0
		if b == '+' || b == '/' {
			plain = strings.IndexByte(special, b) < 0
		}
		units[i] = unit{text: string(text[i : i+1]), of: 1}
		if !plain {
			units[i].text = fmt.Sprintf(format, b)
		}
	}
	return units
}

// unique drops forms that are equal to an earlier one or too short to tell.
func unique(list []form) []form {
	seen := map[string]bool{}
	var kept []form
	for _, f := range list {
		if f.window >= MinNeedle && !seen[string(f.text)] {
			seen[string(f.text)] = true
			kept = append(kept, f)
		}
	}
	return kept
}
