package target

import (
	"context"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// caName is the ConfigMap or Secret that holds Vault's CA under caKey.
const (
	caName = "vault-ca"
	caKey  = "ca.crt"
)

// bundle is where a CA may be: a key of a ConfigMap or of a Secret.
type bundle struct {
	kind, name, key string
}

// Kinds of bundles.
const (
	inConfigMap = "ConfigMap"
	inSecret    = "Secret"
)

// findCA reads the CA that is told, else that of ConfigMap or Secret vault-ca, else the
// one that Vault's own container is given. A target without one is verified against the
// system's roots.
func (t *Target) findCA(ctx context.Context, file File, spec corev1.PodSpec) error {
	if t.Plaintext {
		return nil
	}
	if file.TLS.CAFile != "" {
		pem, err := file.read("tls.caFile", file.TLS.CAFile)
		t.CA = pem
		t.found("CA", file.TLS.CAFile)
		return err
	}
	told := toldBundle(file.TLS)
	bundles := told
	if len(bundles) == 0 {
		files, err := t.configFilesOf(ctx, spec)
		if err != nil {
			return err
		}
		bundles = append([]bundle{{inConfigMap, caName, caKey}, {inSecret, caName, caKey}}, mountedBundles(spec, t.Container, caPaths(spec, t.Container, files))...)
	}
	var refused []string
	for _, b := range bundles {
		pem, err := t.readBundle(ctx, b)
		switch {
		case apierrors.IsForbidden(err):
			refused = append(refused, b.kind+" "+b.name)
		case err != nil:
			return fmt.Errorf("reading %s %s/%s: %w", b.kind, t.Namespace, b.name, err)
		case len(pem) > 0:
			t.CA = pem
			t.found("CA", fmt.Sprintf("%s %s, key %s", b.kind, b.name, b.key))
			return nil
		}
	}
	switch {
	case len(refused) > 0:
		t.unseen("CA", "the user of the kubeconfig may not read "+strings.Join(refused, " and ")+"; certificates are verified with the system's roots")
	case len(told) > 0:
		return fmt.Errorf("the CA that the target file names (%s %s/%s, key %s) is not there: mend its name or key", told[0].kind, t.Namespace, told[0].name, told[0].key)
	default:
		t.unseen("CA", "there is no "+caName+", and Vault's container is given none; certificates are verified with the system's roots")
	}
	return nil
}

func toldBundle(told FileTLS) []bundle {
	key := told.CAKey
	if key == "" {
		key = caKey
	}
	switch {
	case told.CAConfigMap != "":
		return []bundle{{inConfigMap, told.CAConfigMap, key}}
	case told.CASecret != "":
		return []bundle{{inSecret, told.CASecret, key}}
	}
	return nil
}

// readBundle returns nil for what is not there.
func (t *Target) readBundle(ctx context.Context, b bundle) ([]byte, error) {
	core := t.Client.CoreV1()
	if b.kind == inConfigMap {
		cm, err := core.ConfigMaps(t.Namespace).Get(ctx, b.name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		return []byte(cm.Data[b.key]), nil
	}
	secret, err := core.Secrets(t.Namespace).Get(ctx, b.name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return secret.Data[b.key], nil
}

var caInFile = regexp.MustCompile(`"?leader_ca_cert_file"?\s*[:=]\s*"([^"]+)"`)

// caPaths are the files in Vault's container that hold its CA: what an operator's
// "vault status" verifies with there, and what peers verify each other with.
func caPaths(spec corev1.PodSpec, container string, files map[string]string) []string {
	var paths []string
	if own := variable(spec, container, "VAULT_CACERT"); own != "" {
		paths = append(paths, own)
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		for _, match := range caInFile.FindAllStringSubmatch(files[name], -1) {
			if !slices.Contains(paths, match[1]) {
				paths = append(paths, match[1])
			}
		}
	}
	return paths
}

// mountedBundles finds where the files at paths come from.
func mountedBundles(spec corev1.PodSpec, container string, paths []string) []bundle {
	var found []bundle
	for _, c := range spec.Containers {
		if c.Name != container {
			continue
		}
		for _, p := range paths {
			for _, m := range c.VolumeMounts {
				relative, inside := strings.CutPrefix(path.Clean(p), strings.TrimSuffix(m.MountPath, "/"))
				if !inside || relative != "" && relative[0] != '/' {
					continue
				}
				found = append(found, bundlesIn(spec.Volumes, m.Name, strings.TrimPrefix(path.Join(m.SubPath, relative), "/"))...)
			}
		}
	}
	return found
}

// bundlesIn are those behind one file of a volume.
func bundlesIn(volumes []corev1.Volume, volume, file string) []bundle {
	var found []bundle
	add := func(kind, name string, items []corev1.KeyToPath) {
		key := file
		for _, item := range items {
			if item.Path == file {
				key = item.Key
			}
		}
		found = append(found, bundle{kind, name, key})
	}
	for _, v := range volumes {
		switch {
		case v.Name != volume:
		case v.Secret != nil:
			add(inSecret, v.Secret.SecretName, v.Secret.Items)
		case v.ConfigMap != nil:
			add(inConfigMap, v.ConfigMap.Name, v.ConfigMap.Items)
		case v.Projected != nil:
			for _, s := range v.Projected.Sources {
				if s.Secret != nil {
					add(inSecret, s.Secret.Name, s.Secret.Items)
				}
				if s.ConfigMap != nil {
					add(inConfigMap, s.ConfigMap.Name, s.ConfigMap.Items)
				}
			}
		}
	}
	return found
}
