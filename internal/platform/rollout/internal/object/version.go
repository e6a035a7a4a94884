package object

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sampan-cloud/sampan/api/v1alpha1"
)

// Version is one version of an app's configuration: of the app's own and of
// all ConfigMaps and Secrets that it names. It is kept in a ControllerRevision,
// which the API server lets nobody change, and says of secret values only by
// which digest they are known. The contents are in copies beside it.
type Version struct {
	Number int64 `json:"number"`
	// By is who made the change, as the API server knows them; empty if it
	// cannot tell, as when an object was removed.
	By string `json:"by,omitempty"`
	// Cause is why, in their words.
	Cause   string   `json:"cause,omitempty"`
	Sources []Source `json:"sources"`
	// At is when it was noticed.
	At time.Time `json:"-"`
}

// Source is one ConfigMap or Secret as it was in a version.
type Source struct {
	Kind            string  `json:"kind"` // ConfigMap or Secret
	Name            string  `json:"name"`
	Own             bool    `json:"own,omitempty"` // whether it is the app's own configuration
	Copy            string  `json:"copy"`          // the object with this content, of the same kind
	Digest          string  `json:"digest"`        // of all of it
	ResourceVersion string  `json:"resourceVersion"`
	Changes         int64   `json:"changes,omitempty"` // how often it had been changed
	Note            string  `json:"note,omitempty"`    // its cause as it stands there, to tell a new one from an old one
	Values          []Value `json:"values,omitempty"`
}

// Value is one value of a source.
type Value struct {
	Key    string `json:"key"`
	Path   string `json:"path,omitempty"` // of a file of the app's own configuration
	Secret bool   `json:"secret,omitempty"`
	Text   string `json:"text,omitempty"` // if it is not secret, and short
	Whole  bool   `json:"whole,omitempty"`
	Size   int    `json:"size"`
	Digest string `json:"digest"`
}

// shown is how long a value may be to stand in the version itself.
const shown = 1024

// ReadSource describes a ConfigMap or Secret as it is now.
func ReadSource(app *v1alpha1.App, d Digester, o client.Object) (Source, error) {
	s := Source{Name: o.GetName(), ResourceVersion: o.GetResourceVersion(), Note: o.GetAnnotations()[v1alpha1.AnnotationCause]}
	s.Changes = ReadTrail(o.GetAnnotations()[v1alpha1.AnnotationChanges]).Count
	data, keys := map[string][]byte{}, map[string]Key{}
	switch o := o.(type) {
	case *corev1.ConfigMap:
		s.Kind = "ConfigMap"
		for k, v := range o.Data {
			data[k], keys[k] = []byte(v), Key{Plain: true}
		}
		for k, v := range o.BinaryData {
			data[k], keys[k] = v, Key{Plain: true}
		}
	case *corev1.Secret:
		s.Kind, data = "Secret", o.Data
		if s.Own = IsOwn(app, o); s.Own {
			var err error
			if keys, err = OwnKeys(o); err != nil {
				return s, err
			}
		}
	}
	for _, name := range sortedKeys(data) {
		k := keys[name]
		v := Value{Key: name, Path: k.Path, Secret: !k.Plain, Size: len(data[name]), Digest: d.Of(data[name])}
		if k.Plain && len(data[name]) <= shown && utf8.Valid(data[name]) {
			v.Text, v.Whole = string(data[name]), true
		}
		s.Values = append(s.Values, v)
	}
	s.Digest = d.Of(s.Kind, s.Name, data, keys)
	s.Copy = ConfigName(app) + "-" + s.Digest
	return s, nil
}

// IsOwn says whether a Secret is an app's own configuration. The name alone
// does not make it: somebody may have had it before.
func IsOwn(app *v1alpha1.App, o metav1.Object) bool {
	return o.GetName() == ConfigName(app) && o.GetLabels()[v1alpha1.LabelConfig] == app.Name
}

// CopyOf is the object that keeps a source's content. It never changes, and
// its name is that of the content, so equal contents are kept once.
func CopyOf(app *v1alpha1.App, s Source, o client.Object) client.Object {
	m := meta(app, s.Copy, "")
	m.Labels[v1alpha1.LabelConfigCopy] = ""
	immutable := true
	switch o := o.(type) {
	case *corev1.ConfigMap:
		return &corev1.ConfigMap{ObjectMeta: m, Data: o.Data, BinaryData: o.BinaryData, Immutable: &immutable}
	case *corev1.Secret:
		if keys := o.Annotations[v1alpha1.AnnotationConfigKeys]; keys != "" {
			m.Annotations = map[string]string{v1alpha1.AnnotationConfigKeys: keys}
		}
		return &corev1.Secret{ObjectMeta: m, Data: o.Data, Type: o.Type, Immutable: &immutable}
	}
	return nil
}

// VersionName is the name of the object that keeps a version.
func VersionName(app *v1alpha1.App, number int64) string {
	return ConfigName(app) + "-v" + strconv.FormatInt(number, 10)
}

// KeepVersion makes the object that keeps a version.
func KeepVersion(app *v1alpha1.App, v Version) (*appsv1.ControllerRevision, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("configuration v%d: %w", v.Number, err)
	}
	m := meta(app, VersionName(app, v.Number), "")
	m.Labels[v1alpha1.LabelConfigVersion] = strconv.FormatInt(v.Number, 10)
	return &appsv1.ControllerRevision{ObjectMeta: m, Revision: v.Number, Data: runtime.RawExtension{Raw: data}}, nil
}

// IsVersion tells such an object from one that keeps a revision.
func IsVersion(c *appsv1.ControllerRevision) bool {
	_, ok := c.Labels[v1alpha1.LabelConfigVersion]
	return ok
}

// ReadVersion reads what KeepVersion has made.
func ReadVersion(c *appsv1.ControllerRevision) (Version, error) {
	var v Version
	if err := json.Unmarshal(c.Data.Raw, &v); err != nil {
		return v, fmt.Errorf("configuration %s: %w", c.Name, err)
	}
	v.At = c.CreationTimestamp.Time
	return v, nil
}

// mark is what a client may put behind a cause, so that the same words said
// again are a new cause.
var mark = regexp.MustCompile(` ?#[a-z2-7]{8}$`)

// CauseOf is a cause without its mark.
func CauseOf(note string) string { return strings.TrimSpace(mark.ReplaceAllString(note, "")) }
