package object

import (
	"encoding/json"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/sampan-cloud/sampan/api/v1alpha1"
)

// Key says what a key of an app's own configuration is: a file when it has a
// path, else an environment variable; secret unless it is plain.
type Key struct {
	Path  string `json:"path,omitempty"`
	Plain bool   `json:"plain,omitempty"`
}

// ConfigName is the name of the Secret that is an app's own configuration. One
// object holds all of it, so that a change is whole or not at all.
func ConfigName(app *v1alpha1.App) string { return app.Name + "-config" }

// OwnRef names it.
func OwnRef(app *v1alpha1.App) Ref { return Ref{Name: ConfigName(app), Secret: true} }

// OwnKeys reads what the keys of an app's own configuration are.
func OwnKeys(s *corev1.Secret) (map[string]Key, error) {
	said := map[string]Key{}
	if text := s.Annotations[v1alpha1.AnnotationConfigKeys]; text != "" {
		if err := json.Unmarshal([]byte(text), &said); err != nil {
			return nil, fmt.Errorf("secret %s: annotation %s: %w", s.Name, v1alpha1.AnnotationConfigKeys, err)
		}
	}
	keys := make(map[string]Key, len(s.Data))
	for name := range s.Data {
		keys[name] = said[name]
	}
	return keys, nil
}

// Configured is a spec with the app's own configuration in it, which wins over
// what the spec says: the spec comes with the app, the configuration with the
// place where it runs.
func Configured(app *v1alpha1.App, spec v1alpha1.AppSpec, own map[string]Key) v1alpha1.AppSpec {
	if len(own) == 0 {
		return spec
	}
	from := func(key string, optional bool) *v1alpha1.KeyRef {
		return &v1alpha1.KeyRef{Name: ConfigName(app), Key: key, Optional: optional}
	}
	var first, rest []v1alpha1.EnvVar
	said := map[string]bool{}
	for _, e := range spec.Env {
		if k, ok := own[e.Name]; ok && k.Path == "" {
			e = v1alpha1.EnvVar{Name: e.Name, From: &v1alpha1.EnvSource{Secret: from(e.Name, false)}}
			said[e.Name] = true
		}
		rest = append(rest, e)
	}
	paths := map[string]bool{}
	var added []v1alpha1.File
	for _, name := range sortedKeys(own) {
		switch k := own[name]; {
		case k.Path != "":
			// In a running copy the key may go before the copy does.
			added = append(added, v1alpha1.File{Path: k.Path, Secret: from(name, Live(&spec))})
			paths[k.Path] = true
		case !said[name]:
			// Before the spec's, whose values may use them as $(NAME).
			first = append(first, v1alpha1.EnvVar{Name: name, From: &v1alpha1.EnvSource{Secret: from(name, false)}})
		}
	}
	spec.Env = slices.Concat(first, rest)
	spec.Files = slices.DeleteFunc(slices.Clone(spec.Files), func(f v1alpha1.File) bool { return paths[f.Path] })
	spec.Files = append(spec.Files, added...)
	return spec
}

// OwnContent is what of an app's own configuration makes a revision: its
// variables and the places of its files, and what is in these unless it changes
// in running copies.
func OwnContent(spec *v1alpha1.AppSpec, s *corev1.Secret, keys map[string]Key) []any {
	var parts []any
	for _, name := range sortedKeys(keys) {
		k := keys[name]
		parts = append(parts, name, k.Path)
		if k.Path == "" || !Live(spec) {
			parts = append(parts, s.Data[name])
		}
	}
	return parts
}

// OwnSecret makes the app's own configuration. It goes with the app.
func OwnSecret(app *v1alpha1.App, data map[string][]byte, keys map[string]Key) (*corev1.Secret, error) {
	said, err := json.Marshal(keys)
	if err != nil {
		return nil, err
	}
	m := meta(app, ConfigName(app), "")
	// Not the app's label: what it owns is made of this, and not the reverse.
	m.Labels = map[string]string{v1alpha1.LabelConfig: app.Name}
	m.OwnerReferences[0].Controller, m.OwnerReferences[0].BlockOwnerDeletion = nil, nil
	m.Annotations = map[string]string{v1alpha1.AnnotationConfigKeys: string(said)}
	return &corev1.Secret{ObjectMeta: m, Data: data, Type: v1alpha1.SecretTypeConfig}, nil
}
