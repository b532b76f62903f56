package target

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"

	"sigs.k8s.io/yaml"
)

// File is what somebody says of a Vault that cannot be found, or not wholly, by the
// labels of the common charts. What is left empty is looked for.
type File struct {
	// Namespace and StatefulSet of the Vault, and the name of Vault's container.
	Namespace   string `json:"namespace"`
	StatefulSet string `json:"statefulSet"`
	Container   string `json:"container"`

	Services FileServices  `json:"services"`
	TLS      FileTLS       `json:"tls"`
	Ingress  []FileIngress `json:"ingress"`
	// Custody is where keys are kept, if the runner may read there.
	Custody *FileCustody `json:"custody"`
	// TokenFile holds a token of an admin, if one may be used.
	TokenFile string `json:"tokenFile"`

	dir string // of the file itself: paths in it are relative to that
}

// FileServices names the Services of the Vault.
type FileServices struct {
	Active   string   `json:"active"`
	Headless string   `json:"headless"`
	Clients  []string `json:"clients"`
}

// FileTLS says how Vault is spoken with.
type FileTLS struct {
	// Plaintext means that TLS is off; nil means: ask a pod.
	Plaintext *bool `json:"plaintext"`
	// ServerName is verified in the certificate of every pod.
	ServerName string `json:"serverName"`
	// The CA is in a file, or under Key (ca.crt) of a ConfigMap or a Secret in the
	// Vault's namespace.
	CAFile      string `json:"caFile"`
	CAConfigMap string `json:"caConfigMap"`
	CASecret    string `json:"caSecret"`
	CAKey       string `json:"caKey"`
}

// FileIngress is a public name of Vault, and the address that serves it.
type FileIngress struct {
	Host    string `json:"host"`
	Address string `json:"address"`
}

// FileCustody is a custody, in the words of ConfigMap vault-custody.
type FileCustody struct {
	// ConfigMap ([namespace/]name) has all that is not said here.
	ConfigMap string `json:"configMap"`
	Project   string `json:"project"`
	Endpoint  string `json:"endpoint"`
	Audience  string `json:"audience"`
	Prefix    string `json:"prefix"`
	CAFile    string `json:"caFile"`
}

// LoadFile reads a target file. Its errors are one sentence each, with the file, the
// field and how to mend it.
func LoadFile(path string) (File, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return File{}, fmt.Errorf("the target file cannot be read (%w): check the path given with -target", err)
	}
	asJSON, err := yaml.YAMLToJSONStrict(raw)
	if err != nil {
		return File{}, fmt.Errorf("the target file %s is not YAML, or says a thing twice (%w): mend that line", path, err)
	}
	f := File{dir: filepath.Dir(path)}
	decoder := json.NewDecoder(bytes.NewReader(asJSON))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&f); err != nil {
		return File{}, fmt.Errorf("the target file %s: %w", path, clearly(raw, err))
	}
	if err := f.check(); err != nil {
		return File{}, fmt.Errorf("the target file %s: %w", path, err)
	}
	return f, nil
}

// check refuses what contradicts itself.
func (f File) check() error {
	places := 0
	for _, place := range []string{f.TLS.CAFile, f.TLS.CAConfigMap, f.TLS.CASecret} {
		if place != "" {
			places++
		}
	}
	switch {
	case places > 1:
		return errors.New("tls names more than one CA: keep one of caFile, caConfigMap and caSecret")
	case places > 0 && f.TLS.Plaintext != nil && *f.TLS.Plaintext:
		return errors.New("tls.plaintext is true and tls names a CA: take one of them away")
	case f.TLS.CAKey != "" && f.TLS.CAConfigMap == "" && f.TLS.CASecret == "":
		return errors.New("tls.caKey is a key of nothing: name caConfigMap or caSecret beside it")
	case f.Custody != nil && f.Custody.ConfigMap == "" && f.Custody.Project == "":
		return errors.New("custody says not where it is: give its project, or a configMap such as vault/vault-custody")
	}
	for i, in := range f.Ingress {
		if in.Host == "" || in.Address == "" {
			return fmt.Errorf("ingress[%d] lacks its host or its address: give both", i)
		}
	}
	return nil
}

// path is one that the file names.
func (f File) path(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(f.dir, name)
}

// read reads a file that the target file names in a field.
func (f File) read(field, name string) ([]byte, error) {
	content, err := os.ReadFile(f.path(name))
	if err != nil {
		return nil, fmt.Errorf("%s of the target file cannot be read (%w): check the path, which is relative to the target file", field, err)
	}
	return content, nil
}

// clearly says what a decoder found wrong in the words of the file.
func clearly(raw []byte, err error) error {
	var kind *json.UnmarshalTypeError
	if errors.As(err, &kind) {
		field := kind.Field
		if field == "" {
			field = "what it holds"
		}
		return fmt.Errorf("%s is %s, want %s", field, given(kind.Value), wanted(kind.Type))
	}
	if name, ok := strings.CutPrefix(err.Error(), `json: unknown field "`); ok {
		name = strings.TrimSuffix(name, `"`)
		return fmt.Errorf("line %d: there is no field %s, known are %s", lineOf(raw, name), name, strings.Join(fieldsOf(reflect.TypeFor[File](), ""), ", "))
	}
	return err
}

// given is a word for a value, by encoding/json's.
func given(value string) string {
	word, _, _ := strings.Cut(value, " ")
	switch word {
	case "string":
		return "text"
	case "bool":
		return "true or false"
	case "array":
		return "a list"
	case "object":
		return "a group of fields"
	default:
		return "a number"
	}
}

func wanted(t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return "text (in quotes, if it looks like something else)"
	case reflect.Bool:
		return "true or false"
	case reflect.Slice:
		return "a list"
	default:
		return "fields below it"
	}
}

// fieldsOf names all fields, those of groups with the group before them.
func fieldsOf(t reflect.Type, within string) []string {
	var names []string
	for i := range t.NumField() {
		name := t.Field(i).Tag.Get("json")
		if name == "" {
			continue
		}
		inner := t.Field(i).Type
		for inner.Kind() == reflect.Pointer || inner.Kind() == reflect.Slice {
			inner = inner.Elem()
		}
		if inner.Kind() == reflect.Struct {
			names = append(names, fieldsOf(inner, within+name+".")...)
		} else {
			names = append(names, within+name)
		}
	}
	return names
}

// lineOf is the number of the first line that has the field.
func lineOf(raw []byte, field string) int {
	line := 0
	for text := range strings.Lines(string(raw)) {
		line++
		name, _, found := strings.Cut(text, ":")
		if found && strings.Trim(name, " \t-'\"{") == field {
			return line
		}
	}
	return 1
}
