package leak

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/url"
	"strings"
	"testing"
)

// encodings spells a value in every way that the scanner knows, by other means
// than its own.
func encodings(value []byte) map[string]string {
	std := base64.StdEncoding.EncodeToString(value)
	lower, upper := hex.EncodeToString(value), strings.ToUpper(hex.EncodeToString(value))
	colons := strings.TrimSpace(strings.ReplaceAll(fmt.Sprintf("% x", value), " ", ":"))
	list, _ := json.Marshal(ints(value))
	inJSON, _ := json.Marshal(map[string]string{"key": std})
	slashes := strings.ReplaceAll(std, "/", `\/`)
	again := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	all := map[string]string{
		"raw": string(value), "hex": lower, "HEX": upper, "0x": "0x" + lower,
		"colons": colons, "COLONS": strings.ToUpper(colons), "% x": fmt.Sprintf("% x", value), "%#v": fmt.Sprintf("%#v", value),
		"%v": fmt.Sprintf("%v", value), "%v of a struct": fmt.Sprintf("%v", struct{ Key []byte }{value}), "JSON array": string(list),
		"list": strings.ReplaceAll(string(list), ",", ", "), "%q": fmt.Sprintf("%q", value), "%q in JSON": strings.ReplaceAll(fmt.Sprintf("%q", value), `\`, `\\`),
		"base64": std, "base64 unpadded": base64.RawStdEncoding.EncodeToString(value),
		"base64url": base64.URLEncoding.EncodeToString(value), "base64url unpadded": base64.RawURLEncoding.EncodeToString(value),
		"base64 of hex": again(lower), "base64 of HEX": again(upper), "base64 of base64": again(std), "base64 of base64url": again(base64.RawURLEncoding.EncodeToString(value)),
		"base64 of JSON": again(string(inJSON)), "base64 of base64 of hex": again(again(lower)), "base64 of escaped JSON": again(`{"key":"` + slashes + `"}`),
		"base64 of %v": again(fmt.Sprintf("%v", value)),
		"query":        url.QueryEscape(string(value)), "query of base64": url.QueryEscape(std), "query twice": url.QueryEscape(url.QueryEscape(std)), "query of raw twice": url.QueryEscape(url.QueryEscape(string(value))),
		"path of base64": url.PathEscape(std), "lower query": strings.ReplaceAll(strings.ReplaceAll(std, "/", "%2f"), "+", "%2b"),
		`JSON \u002b`: strings.ReplaceAll(std, "+", `\u002b`), `JSON \u002B`: strings.ReplaceAll(std, "+", `\u002B`), `JSON \/`: slashes,
		`JSON \/ and \u002b`: strings.ReplaceAll(slashes, "+", `\u002b`), `JSON \u002f`: strings.ReplaceAll(std, "/", `\u002f`),
		"PEM":       string(pem.EncodeToMemory(&pem.Block{Type: "KEY", Bytes: append(make([]byte, 40), value...)})),
		"YAML":      "key: |\n    " + string(wrap([]byte(std), 20, "\n    ")) + "\nnext: a b\n",
		"CRLF":      string(wrap([]byte(std), 76, "\r\n")),
		"truncated": std[16:32], "truncated hex": lower[20:44], "truncated raw": string(value[len(value)-14 : len(value)-2]),
	}
	for shift := range 3 {
		all[fmt.Sprintf("base64 shifted by %d", shift)] = again(strings.Repeat("x", shift) + string(value) + "yz")
		all[fmt.Sprintf("base64url shifted by %d", shift)] = base64.URLEncoding.EncodeToString([]byte(strings.Repeat("x", shift) + string(value) + "yz"))
	}
	return all
}

func ints(value []byte) []int {
	list := make([]int, len(value))
	for i, b := range value {
		list[i] = int(b)
	}
	return list
}

// special is a share whose base64 has both special characters, early and late.
func special() []byte {
	value := share()
	copy(value[3:], "\xfb\xef\xff\xbf")
	copy(value[18:], "\xff\xef\xbe")
	return value
}

func TestFindsEveryEncodingInEveryPacking(t *testing.T) {
	if std := base64.StdEncoding.EncodeToString(special()); !strings.Contains(std, "+") || !strings.Contains(std, "/") {
		t.Fatal("the share does not show how special characters are escaped")
	}
	token := []byte("hvs.CAESIHp3Zr9kQ2mXw7Lc1TnVb8sYd5GfA0JhRu6EoKiPqM4t")
	s, err := New(Needle{Name: "share-0", Value: special()}, Needle{Name: "token", Value: token})
	if err != nil {
		t.Fatal(err)
	}
	otherShare := share()
	for i := range otherShare {
		otherShare[i] ^= 0x5a
	}
	other, err := New(Needle{Name: "share-0", Value: otherShare}, Needle{Name: "token", Value: []byte("hvs.CAESIA1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6Q7r8S9t0")})
	if err != nil {
		t.Fatal(err)
	}
	for needle, value := range map[string][]byte{"share-0": special(), "token": token} {
		for encoding, text := range encodings(value) {
			for _, p := range packings {
				packed, err := p.pack([]byte("level=info msg=\"" + text + "\" path=/v1\n"))
				if err != nil {
					t.Fatal(err)
				}
				packed = []byte("before: \"" + string(packed) + "\" after\n")
				if !hasNeedle(s.ScanBytes(packed), needle) {
					t.Errorf("%s as %s in %s was not found", needle, encoding, p.name)
				}
				if p.name == "plain text" && hasNeedle(other.ScanBytes(packed), needle) {
					t.Errorf("%s as %s was found by one who looks for another secret", needle, encoding)
				}
			}
		}
	}
}

// Every part of a form that comes to MinNeedle bytes of the secret is found,
// wherever it begins, and no shorter part of the raw secret.
func TestFindsEveryWindow(t *testing.T) {
	s := newScanner(t)
	for needle, forms := range s.forms[:s.control] {
		for _, f := range forms {
			for at := f.secret; at+f.window <= len(f.text); at++ {
				part := f.text[at : at+f.window]
				for _, before := range []string{"", ">", ">>", ">>>", ">>>>"} { // all remainders of the step
					if !s.sees(needle, []byte(before+string(part)+"<<<")) {
						t.Fatalf("the part of %s from %d to %d was not found after %d bytes", f.name, at, at+f.window, len(before))
					}
				}
			}
		}
	}
	raw := s.forms[0][0]
	for at := range len(raw.text) - MinNeedle + 1 {
		if s.sees(0, raw.text[at:at+MinNeedle-1]) {
			t.Fatalf("%d bytes of the secret were taken for it", MinNeedle-1)
		}
	}
}

// A window is as long as what MinNeedle bytes come to, in the form's shortest case.
func TestWindows(t *testing.T) {
	want := map[string]int{"raw": 12, "hex": 24, "hex with colons": 35, "hex of Go's %#v": 70, "base64": 15, "base64 of hex": 31, "base64 of base64": 19}
	for _, f := range forms(share()) {
		if w, ok := want[f.name]; ok && f.window != w {
			t.Errorf("the window of %s is %d, want %d", f.name, f.window, w)
		}
	}
}
