package rollout

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sampan-cloud/sampan/api/v1alpha1"
	"github.com/sampan-cloud/sampan/internal/platform/rollout/internal/object"
)

// keptVersions is how many versions of its configuration an app remembers.
const keptVersions = 20

// keepVersion makes a version when the app's configuration is not as in the
// newest one, whoever has changed it and by which way.
func (p *pass) keepVersion(ctx context.Context) error {
	if p.sources.unreadable {
		return nil
	}
	now, err := p.versionNow()
	if err != nil {
		p.wrong(v1alpha1.ReasonInvalid, err.Error())
		return nil
	}
	before := object.Version{}
	if len(p.versions) > 0 {
		before = p.versions[0]
	}
	if sameSources(before.Sources, now.Sources) {
		return nil
	}
	now.Number = before.Number + 1
	now.By, now.Cause = p.changedBy(before, now)
	for _, s := range now.Sources {
		if s.Copy == "" {
			continue
		}
		if err := p.keepCopy(ctx, s); err != nil {
			return err
		}
	}
	kept, err := object.KeepVersion(p.app, now)
	if err != nil {
		return err
	}
	if err := p.Create(ctx, kept); tooLarge(err) {
		p.wrong(v1alpha1.ReasonInvalid, fmt.Sprintf("the configuration is too large to be remembered: %v", err))
		return nil
	} else if err != nil {
		return err // it exists: the cache is behind
	}
	p.versions = slices.Insert(p.versions, 0, now)
	by := now.By
	if by == "" {
		by = "somebody"
	}
	p.event(false, "NewConfiguration", fmt.Sprintf("configuration v%d, changed by %s", now.Number, by))
	return p.trimVersions(ctx)
}

// versionNow is the configuration as it was read.
func (p *pass) versionNow() (object.Version, error) {
	var v object.Version
	for _, ref := range p.sources.refs {
		o, ok := p.sources.has[ref.Key()]
		if !ok {
			continue
		}
		s, err := object.ReadSource(p.app, p.digest, o)
		if err != nil {
			return v, err
		}
		v.Sources = append(v.Sources, s)
	}
	return v, nil
}

// sameSources says whether two versions have the same content.
func sameSources(a, b []object.Source) bool {
	set := func(list []object.Source) map[string]bool {
		m := map[string]bool{}
		for _, s := range list {
			m[s.Kind+"/"+s.Name+"/"+s.Digest] = true
		}
		return m
	}
	return maps.Equal(set(a), set(b))
}

// changedBy says who has made a version of the one before, and why. An object
// that the app has begun to name, or names no more, is a change of the app.
func (p *pass) changedBy(before, now object.Version) (by, cause string) {
	var who, why []string
	add := func(to *[]string, text string) {
		if text != "" && !slices.Contains(*to, text) {
			*to = append(*to, text)
		}
	}
	find := func(in object.Version, s object.Source) *object.Source {
		i := slices.IndexFunc(in.Sources, func(o object.Source) bool { return o.Kind == s.Kind && o.Name == s.Name })
		if i < 0 {
			return nil
		}
		return &in.Sources[i]
	}
	app := p.app.Annotations[v1alpha1.AnnotationChangedBy]
	for _, s := range now.Sources {
		old := find(before, s)
		switch {
		case old != nil && old.Digest == s.Digest:
		case old == nil && !s.Own:
			add(&who, app)
		default:
			seen := int64(0)
			if old != nil {
				seen = old.Changes
			}
			o := p.sources.has[object.Ref{Name: s.Name, Secret: s.Kind == "Secret"}.Key()]
			said := o.GetAnnotations()
			if !labelled(o) {
				continue // the API server has not written down who it was
			}
			for _, by := range object.ReadTrail(said[v1alpha1.AnnotationChanges]).Since(seen) {
				add(&who, by)
			}
			add(&who, said[v1alpha1.AnnotationChangedBy])
			if old == nil || old.Note != s.Note {
				add(&why, object.CauseOf(s.Note))
			}
		}
	}
	for _, s := range before.Sources {
		named := slices.ContainsFunc(p.sources.refs, func(r object.Ref) bool { return r.Name == s.Name && r.Secret == (s.Kind == "Secret") })
		if find(now, s) == nil && !named && !s.Own {
			add(&who, app)
		}
	}
	return strings.Join(who, ", "), strings.Join(why, "; ")
}

// keepCopy keeps the content of a source, and has its next change noticed.
func (p *pass) keepCopy(ctx context.Context, s object.Source) error {
	o := p.sources.has[object.Ref{Name: s.Name, Secret: s.Kind == "Secret"}.Key()]
	if err := p.Create(ctx, object.CopyOf(p.app, s, o)); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("configuration: keep %s %s: %w", s.Kind, s.Name, err)
	}
	if labelled(o) {
		return nil
	}
	// From now on the API server writes down who changes it.
	patch := fmt.Sprintf(`{"metadata":{"labels":{%q:""}}}`, v1alpha1.LabelConfig)
	o, ok := o.DeepCopyObject().(client.Object)
	if !ok {
		return nil
	}
	return client.IgnoreNotFound(p.Patch(ctx, o, client.RawPatch(mergePatch, []byte(patch))))
}

// trimVersions forgets the oldest versions, and copies to which none leads.
func (p *pass) trimVersions(ctx context.Context) error {
	for len(p.versions) > keptVersions {
		last := p.versions[len(p.versions)-1]
		o := &appsv1.ControllerRevision{ObjectMeta: metav1.ObjectMeta{Namespace: p.app.Namespace, Name: object.VersionName(p.app, last.Number)}}
		if err := p.Delete(ctx, o); client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("forget configuration v%d: %w", last.Number, err)
		}
		p.versions = p.versions[:len(p.versions)-1]
	}
	used := map[string]bool{}
	for _, v := range p.versions {
		for _, s := range v.Sources {
			used[s.Copy] = true
		}
	}
	copies := []client.ListOption{client.InNamespace(p.app.Namespace), client.MatchingLabels{v1alpha1.LabelApp: p.app.Name}, client.HasLabels{v1alpha1.LabelConfigCopy}}
	var maps corev1.ConfigMapList
	var secrets corev1.SecretList
	if err := p.List(ctx, &maps, copies...); err != nil {
		return err
	}
	if err := p.List(ctx, &secrets, copies...); err != nil {
		return err
	}
	var all []client.Object
	for i := range maps.Items {
		all = append(all, &maps.Items[i])
	}
	for i := range secrets.Items {
		all = append(all, &secrets.Items[i])
	}
	for _, o := range all {
		if used[o.GetName()] || !metav1.IsControlledBy(o, p.app) {
			continue
		}
		if err := p.Delete(ctx, o); client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("forget %s: %w", o.GetName(), err)
		}
	}
	return nil
}

// version is the number of the newest version.
func (p *pass) version() int64 {
	if len(p.versions) == 0 {
		return 0
	}
	return p.versions[0].Number
}

// liveVersion is the version with which the live revision runs. One that the
// app still asks for has the newest: it was made with it, or has got it in
// place, once all its copies have.
func (p *pass) liveVersion() int64 {
	live := p.revision(p.app.Status.Live)
	switch {
	case live == nil:
		return 0
	case live.Name != p.asked || p.app.Status.Pinned != nil:
		return live.Version
	case p.reloading(live):
		return min(max(live.Version, p.before.LiveConfig), p.version())
	}
	return p.version()
}
