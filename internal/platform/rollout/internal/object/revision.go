package object

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/sampan-cloud/sampan/api/v1alpha1"
)

// Revision is one version of an app: all that its copies are made of. It is
// kept in a ControllerRevision and never changes. Only the image's digest, which
// may not be known before the first copy runs, is added beside it.
type Revision struct {
	Number int64 `json:"-"`
	Name   string
	Hash   string
	// Spec without what does not concern a copy: scale, routes, rollout, dependencies.
	Spec v1alpha1.AppSpec
	// Config is the hashes of the ConfigMaps and Secrets that it names.
	Config map[string]string `json:",omitempty"`
	// Own says what the keys of the app's own configuration are.
	Own map[string]Key `json:",omitempty"`
	// Version is that of the configuration with which the revision was made.
	Version int64  `json:",omitempty"`
	Restart string `json:",omitempty"`
	Digest  string `json:"-"` // of the image, as IMAGE@sha256:…
}

// Content is the part of a spec that makes a revision.
func Content(spec *v1alpha1.AppSpec) v1alpha1.AppSpec {
	c := *spec.DeepCopy()
	c.Scale, c.Routes, c.Rollout, c.DependsOn = nil, nil, nil, nil
	if Live(spec) {
		for i := range c.Files {
			c.Files[i].Content = nil // changes in place
		}
	}
	return c
}

// Live says whether configuration files change in running copies.
func Live(spec *v1alpha1.AppSpec) bool {
	return spec.Reload.How == "file" || spec.Reload.How == "signal"
}

// Hash is the identity of a revision: of what is asked for and of the hashes
// of its configuration.
func Hash(app *v1alpha1.App, config map[string]string) string {
	data, err := json.Marshal(struct {
		Spec    v1alpha1.AppSpec
		Config  map[string]string
		Restart string
	}{Content(&app.Spec), config, app.Annotations[v1alpha1.AnnotationRestart]})
	if err != nil {
		panic(err) // plain data
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:8])
}

// AnnotationImage is on a ControllerRevision: the image with its digest.
const AnnotationImage = v1alpha1.Group + "/image"

// History makes the object that keeps a revision, with who has made it and why.
func History(app *v1alpha1.App, r Revision, by, cause string) (*appsv1.ControllerRevision, error) {
	data, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("revision %s: %w", r.Name, err)
	}
	m := meta(app, Name(app, r.Name), r.Name)
	m.Annotations = map[string]string{}
	if by != "" {
		m.Annotations[v1alpha1.AnnotationChangedBy] = by
	}
	if cause != "" {
		m.Annotations[v1alpha1.AnnotationCause] = cause
	}
	if r.Digest != "" {
		m.Annotations[AnnotationImage] = r.Digest
	}
	return &appsv1.ControllerRevision{ObjectMeta: m, Revision: r.Number, Data: runtime.RawExtension{Raw: data}}, nil
}

// ReadHistory reads what History has made.
func ReadHistory(c *appsv1.ControllerRevision) (Revision, error) {
	var r Revision
	if err := json.Unmarshal(c.Data.Raw, &r); err != nil {
		return r, fmt.Errorf("revision %s: %w", c.Name, err)
	}
	r.Number, r.Digest = c.Revision, c.Annotations[AnnotationImage]
	return r, nil
}

// Image is what a copy of the revision runs.
func (r Revision) Image() string {
	if r.Digest != "" {
		return r.Digest
	}
	return r.Spec.Image
}

// DigestOf is the image with the digest that a node has reported, or empty
// when the report says nothing more than the image itself.
func DigestOf(imageID string) string {
	imageID = strings.TrimPrefix(imageID, "docker-pullable://")
	if repo, digest, ok := strings.Cut(imageID, "@"); ok && repo != "" && strings.HasPrefix(digest, "sha256:") {
		return imageID
	}
	return ""
}
