package rollout

import (
	"context"
	"fmt"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sampan-cloud/sampan/api/v1alpha1"
	"github.com/sampan-cloud/sampan/internal/platform/rollout/internal/object"
)

// kept is how many revisions an app remembers.
const kept = 10

// resolveLimit is how long a new revision waits to learn what its image's name
// leads to. A registry that is slower is asked by the node all the same.
const resolveLimit = 3 * time.Second

// gather reads what the app has.
func (p *pass) gather(ctx context.Context) error {
	var history appsv1.ControllerRevisionList
	if err := p.List(ctx, &history, owned(p.app)...); err != nil {
		return err
	}
	for i := range history.Items {
		if !metav1.IsControlledBy(&history.Items[i], p.app) {
			continue
		}
		if object.IsVersion(&history.Items[i]) {
			v, err := object.ReadVersion(&history.Items[i])
			if err != nil {
				return err
			}
			p.versions = append(p.versions, v)
			continue
		}
		rev, err := object.ReadHistory(&history.Items[i])
		if err != nil {
			return err
		}
		p.revisions = append(p.revisions, rev)
	}
	slices.SortFunc(p.revisions, func(a, b object.Revision) int { return int(b.Number - a.Number) })
	slices.SortFunc(p.versions, func(a, b object.Version) int { return int(b.Number - a.Number) })
	var pods corev1.PodList
	if err := p.List(ctx, &pods, owned(p.app)...); err != nil {
		return err
	}
	p.pods = pods.Items
	return p.lookAtVolumes(ctx)
}

// revision is the one with this name, and nil if it is not remembered.
func (p *pass) revision(name string) *object.Revision {
	i := slices.IndexFunc(p.revisions, func(r object.Revision) bool { return r.Name == name })
	if i < 0 || name == "" {
		return nil
	}
	return &p.revisions[i]
}

// target is the revision that the app asks for. It is made if there is none
// like it, and is nil when it cannot be: why is a problem.
func (p *pass) target(ctx context.Context) (*object.Revision, error) {
	config, sources := p.configuration()
	if config == nil {
		if pin := p.app.Status.Pinned; pin != nil {
			return p.revision(pin.Revision), nil // it has its own copies
		}
		return nil, nil
	}
	hash := object.Hash(p.app, config)
	if pin := p.app.Status.Pinned; pin != nil {
		if pinned := p.revision(pin.Revision); pinned != nil && pin.Hash == hash {
			return pinned, nil
		}
		p.app.Status.Pinned = nil
	}
	if i := slices.IndexFunc(p.revisions, func(r object.Revision) bool { return r.Hash == hash }); i >= 0 {
		// An older one that is asked for again.
		return &p.revisions[i], nil
	}
	if !p.startable(ctx) {
		return nil, nil
	}
	return p.newRevision(ctx, hash, config, sources)
}

func (p *pass) newRevision(ctx context.Context, hash string, config map[string]string, sources []client.Object) (*object.Revision, error) {
	number := int64(1)
	if len(p.revisions) > 0 {
		number = p.revisions[0].Number + 1
	}
	rev := object.Revision{
		Number: number, Name: object.RevisionName(number), Hash: hash, Spec: object.Content(&p.app.Spec),
		Config: config, Own: p.sources.own, Version: p.version(), Restart: p.app.Annotations[v1alpha1.AnnotationRestart],
	}
	if p.cfg.Resolve != nil {
		asking, cancel := context.WithTimeout(ctx, resolveLimit)
		digest, err := p.cfg.Resolve(asking, rev.Spec.Image)
		cancel()
		if err != nil {
			p.log.Info("the image's digest is not known before it runs", "app", key(p.app), "image", rev.Spec.Image, "err", err)
		}
		rev.Digest = digest
	}
	by, cause := p.madeBy(rev)
	history, err := object.History(p.app, rev, by, cause)
	if err != nil {
		return nil, err
	}
	if err := p.freeze(ctx, rev, sources); err != nil {
		return nil, err
	}
	if err := p.Create(ctx, history); err != nil {
		return nil, err // it exists: the cache is behind
	}
	p.event(false, "NewRevision", fmt.Sprintf("revision %s: %s", rev.Name, rev.Image()))
	p.revisions = append([]object.Revision{rev}, p.revisions...)
	return &p.revisions[0], p.trim(ctx)
}

// madeBy says who has asked for a revision and why: whoever has changed the app
// or, when that is as it was, its configuration.
func (p *pass) madeBy(rev object.Revision) (by, cause string) {
	if len(p.revisions) > 0 && len(p.versions) > 0 {
		last := p.revisions[0]
		if last.Version != rev.Version && last.Restart == rev.Restart && equality.Semantic.DeepEqual(last.Spec, rev.Spec) {
			return p.versions[0].By, p.versions[0].Cause
		}
	}
	return p.app.Annotations[v1alpha1.AnnotationChangedBy], p.app.Annotations[v1alpha1.AnnotationCause]
}

// trim forgets the oldest revisions, but none that is in use.
func (p *pass) trim(ctx context.Context) error {
	used := []string{p.app.Status.Live}
	for _, r := range p.app.Status.Revisions {
		used = append(used, r.Name)
	}
	if ro := p.app.Status.Rollout; ro != nil {
		used = append(used, ro.Revision, ro.From)
	}
	for i := len(p.revisions) - 1; i >= kept; i-- {
		name := p.revisions[i].Name
		if slices.Contains(used, name) {
			continue
		}
		if err := p.forget(ctx, name); err != nil {
			return err
		}
		p.revisions = slices.Delete(p.revisions, i, i+1)
	}
	return nil
}

// forget removes a revision and its copies of the configuration.
func (p *pass) forget(ctx context.Context, name string) error {
	of := []client.DeleteAllOfOption{client.InNamespace(p.app.Namespace), client.MatchingLabels(object.Selector(p.app, name))}
	for _, o := range []client.Object{&corev1.ConfigMap{}, &corev1.Secret{}, &appsv1.ControllerRevision{}} {
		if err := p.DeleteAllOf(ctx, o, of...); err != nil {
			return fmt.Errorf("forget revision %s: %w", name, err)
		}
	}
	return nil
}

// configuration is the ConfigMaps and Secrets that a revision freezes, with
// their digests. The digests are nil when one is missing, which is a problem.
func (p *pass) configuration() (map[string]string, []client.Object) {
	if p.sources.unreadable {
		return nil, nil
	}
	digests, frozen := map[string]string{}, []client.Object{}
	refs, _ := object.Configuration(p.spec())
	for _, ref := range refs {
		o, ok := p.sources.has[ref.Key()]
		switch {
		case ok:
			digests[ref.Key()] = p.digestOf(o)
			frozen = append(frozen, o)
		case !ref.Optional:
			p.wrong(v1alpha1.ReasonConfigMissing, fmt.Sprintf("there is no %s", ref.Key()))
			return nil, nil
		}
	}
	if own := p.ownSecret(); own != nil && digests[object.OwnRef(p.app).Key()] == "" && len(p.sources.own) > 0 {
		// Files that change in running copies: where they are is the revision's.
		digests[object.OwnRef(p.app).Key()] = p.digestOf(own)
		frozen = append(frozen, own)
	}
	return digests, frozen
}

// freeze makes a revision's own copies of its configuration.
func (p *pass) freeze(ctx context.Context, rev object.Revision, sources []client.Object) error {
	for _, o := range sources {
		var frozen client.Object
		switch src := o.(type) {
		case *corev1.ConfigMap:
			frozen = object.FrozenConfigMap(p.app, rev.Name, src)
		case *corev1.Secret:
			frozen = object.FrozenSecret(p.app, rev.Name, src)
		}
		err := p.Create(ctx, frozen)
		if apierrors.IsAlreadyExists(err) {
			// Left by a look that was cut short. It cannot be changed, and may
			// have other content.
			if err = p.Delete(ctx, frozen); err == nil {
				frozen.SetResourceVersion("")
				err = p.Create(ctx, frozen)
			}
		}
		if err != nil {
			return fmt.Errorf("revision %s: keep %s: %w", rev.Name, o.GetName(), err)
		}
	}
	return nil
}

// configure makes what the pods of a revision mount.
func (p *pass) configure(ctx context.Context, rev object.Revision) error {
	if files := object.Files(p.app, rev); files != nil {
		if err := p.ensure(ctx, files); err != nil {
			return err
		}
	}
	for _, claim := range object.SharedClaims(p.app) {
		if err := p.ensure(ctx, claim); err != nil {
			return err
		}
	}
	return nil
}

// learn writes down the digest of the image that a revision's copies run.
func (p *pass) learn(ctx context.Context, rev *object.Revision) error {
	if rev.Digest != "" {
		return nil
	}
	for i := range p.pods {
		pod := &p.pods[i]
		if pod.Labels[v1alpha1.LabelRevision] != rev.Name {
			continue
		}
		for _, c := range pod.Status.ContainerStatuses {
			digest := object.DigestOf(c.ImageID)
			if c.Name != object.ContainerName || digest == "" {
				continue
			}
			h := &appsv1.ControllerRevision{ObjectMeta: metav1.ObjectMeta{Namespace: p.app.Namespace, Name: object.Name(p.app, rev.Name)}}
			patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, object.AnnotationImage, digest)
			rev.Digest = digest
			return p.Patch(ctx, h, client.RawPatch(mergePatch, []byte(patch)))
		}
	}
	return nil
}
