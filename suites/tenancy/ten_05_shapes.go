package tenancy

import (
	"archive/zip"
	"bytes"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
)

// shapes are what secrets look like that nobody knows the value of: the token that the
// provider makes itself, or one that somebody put into a module.
var shapes = map[string]*regexp.Regexp{
	"a token of Vault": regexp.MustCompile(`\bhv[sbr]\.[A-Za-z0-9_-]{20,}`),
	"a JSON web token": regexp.MustCompile(`\beyJ[A-Za-z0-9_-]{6,}\.eyJ[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]*`),
	"a private key":    regexp.MustCompile(`-----BEGIN [A-Z ]*PRIVATE KEY-----`),
}

// lookalikes names what is in content that looks like a secret, in order. A plan is a zip
// archive: what is in that is looked at instead.
func lookalikes(content []byte) ([]string, error) {
	parts := [][]byte{content}
	if bytes.HasPrefix(content, []byte("PK\x03\x04")) {
		var err error
		if parts, err = unzipped(content); err != nil {
			return nil, err
		}
	}
	var found []string
	for _, like := range slices.Sorted(maps.Keys(shapes)) {
		if slices.ContainsFunc(parts, shapes[like].Match) {
			found = append(found, like)
		}
	}
	return found, nil
}

func unzipped(content []byte) (parts [][]byte, err error) {
	archive, err := zip.NewReader(bytes.NewReader(content), int64(len(content)))
	if err != nil {
		return nil, fmt.Errorf("opening it as a zip archive: %w", err)
	}
	for _, file := range archive.File {
		r, err := file.Open()
		if err != nil {
			return nil, fmt.Errorf("opening %s in it: %w", file.Name, err)
		}
		part, err := io.ReadAll(r)
		if err != nil {
			return nil, fmt.Errorf("reading %s in it: %w", file.Name, err)
		}
		if err := r.Close(); err != nil {
			return nil, fmt.Errorf("reading %s in it: %w", file.Name, err)
		}
		parts = append(parts, part)
	}
	return parts, nil
}
