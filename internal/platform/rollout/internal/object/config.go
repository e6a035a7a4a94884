package object

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/sampan-cloud/sampan/api/v1alpha1"
)

// Ref names a ConfigMap or Secret that an app uses.
type Ref struct {
	Name     string
	Secret   bool
	Optional bool
}

// Key is a name that tells ConfigMaps and Secrets apart.
func (r Ref) Key() string {
	if r.Secret {
		return "secret/" + r.Name
	}
	return "configmap/" + r.Name
}

// Configuration lists what ConfigMaps and Secrets an app uses. Those in frozen
// belong to a revision: a change of theirs makes another one. Those in live
// change in running copies.
func Configuration(spec *v1alpha1.AppSpec) (frozen, live []Ref) {
	add := func(to *[]Ref, r Ref) {
		i := slices.IndexFunc(*to, func(o Ref) bool { return o.Key() == r.Key() })
		if i < 0 {
			*to = append(*to, r)
		} else if !r.Optional {
			(*to)[i].Optional = false
		}
	}
	both := func(to *[]Ref, configMap, secret *v1alpha1.KeyRef) {
		if configMap != nil {
			add(to, Ref{Name: configMap.Name, Optional: configMap.Optional})
		}
		if secret != nil {
			add(to, Ref{Name: secret.Name, Secret: true, Optional: secret.Optional})
		}
	}
	for _, e := range spec.Env {
		if e.From != nil {
			both(&frozen, e.From.ConfigMap, e.From.Secret)
		}
	}
	for _, e := range spec.EnvFrom {
		if e.ConfigMap != "" {
			add(&frozen, Ref{Name: e.ConfigMap})
		}
		if e.Secret != "" {
			add(&frozen, Ref{Name: e.Secret, Secret: true})
		}
	}
	files := &frozen
	if Live(spec) {
		files = &live
	}
	for _, f := range spec.Files {
		both(files, f.ConfigMap, f.Secret)
	}
	return frozen, live
}

// HashData is the identity of a ConfigMap's or Secret's content.
func HashData(data ...any) string {
	raw, err := json.Marshal(data) // maps are written in the order of their keys
	if err != nil {
		panic(err) // strings and bytes
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:8])
}

// FrozenName is the name of a revision's own copy of a ConfigMap or Secret.
func FrozenName(app *v1alpha1.App, revision, source string) string {
	return Name(app, revision) + "-" + source
}

// FrozenConfigMap is a revision's own copy, which never changes: a rollback
// finds the configuration that the revision ran with.
func FrozenConfigMap(app *v1alpha1.App, revision string, src *corev1.ConfigMap) *corev1.ConfigMap {
	immutable := true
	return &corev1.ConfigMap{
		ObjectMeta: meta(app, FrozenName(app, revision, src.Name), revision),
		Data:       src.Data, BinaryData: src.BinaryData, Immutable: &immutable,
	}
}

// FrozenSecret is a revision's own copy of a Secret.
func FrozenSecret(app *v1alpha1.App, revision string, src *corev1.Secret) *corev1.Secret {
	immutable := true
	return &corev1.Secret{
		ObjectMeta: meta(app, FrozenName(app, revision, src.Name), revision),
		Data:       src.Data, Type: src.Type, Immutable: &immutable,
	}
}

// Files is the ConfigMap with the files whose content is in the spec, and nil
// if there are none. With reload in place it is one for all revisions.
func Files(app *v1alpha1.App, r Revision) *corev1.ConfigMap {
	spec, name, revision := &r.Spec, filesName(app, r), r.Name
	if Live(&r.Spec) {
		spec, revision = &app.Spec, ""
	}
	c := &corev1.ConfigMap{ObjectMeta: meta(app, name, revision), Data: map[string]string{}}
	for _, f := range spec.Files {
		if f.Content != nil {
			c.Data[fileKey(f.Path)] = *f.Content
		}
	}
	if len(c.Data) == 0 {
		return nil
	}
	return c
}

func filesName(app *v1alpha1.App, r Revision) string {
	if Live(&r.Spec) {
		return app.Name + "-files"
	}
	return Name(app, r.Name) + "-files"
}

// fileKey is the key of a file in a ConfigMap, where a path cannot be one.
func fileKey(path string) string { return "f-" + HashData(path) }
