package rollout

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sampan-cloud/sampan/api/v1alpha1"
	"github.com/sampan-cloud/sampan/internal/base/fault"
	"github.com/sampan-cloud/sampan/internal/platform/rollout/internal/object"
)

// sources is what an app's configuration is made of, as it was read at the
// beginning of a pass: every decision of the pass is about the same contents.
type sources struct {
	own  map[string]object.Key    // nil when the app has none of its own
	refs []object.Ref             // in the order in which the spec names them
	has  map[string]client.Object // by Ref.Key; what is missing is not in it
	// unreadable says that the app's own cannot be understood. Nothing is
	// shipped then: it would be without configuration.
	unreadable bool
}

// readSources reads the ConfigMaps and Secrets that the app is configured by.
func (p *pass) readSources(ctx context.Context) error {
	var err error
	if p.digest, err = p.digester(ctx); err != nil {
		return err
	}
	p.sources = sources{has: map[string]client.Object{}}
	own := object.OwnRef(p.app)
	// Most apps have none, which the cache knows without asking.
	known := metadataOf("Secret")
	err = p.known.Get(ctx, types.NamespacedName{Namespace: p.app.Namespace, Name: own.Name}, known)
	if client.IgnoreNotFound(err) != nil {
		return err
	}
	if err == nil && object.IsOwn(p.app, known) {
		if err := p.readSource(ctx, own); err != nil {
			return err
		}
		if s, ok := p.sources.has[own.Key()].(*corev1.Secret); ok {
			if p.sources.own, err = object.OwnKeys(s); err != nil {
				p.wrong(v1alpha1.ReasonInvalid, err.Error())
				p.sources.unreadable = true
				return nil
			}
			p.sources.refs = append(p.sources.refs, own)
		}
	}
	frozen, live := object.Configuration(&p.app.Spec)
	for _, ref := range append(frozen, live...) {
		if _, ok := p.sources.has[ref.Key()]; ok {
			continue
		}
		if err := p.readSource(ctx, ref); err != nil {
			return err
		}
		p.sources.refs = append(p.sources.refs, ref)
	}
	return nil
}

func (p *pass) readSource(ctx context.Context, ref object.Ref) error {
	var o client.Object = &corev1.ConfigMap{}
	if ref.Secret {
		o = &corev1.Secret{}
	}
	err := p.direct.Get(ctx, types.NamespacedName{Namespace: p.app.Namespace, Name: ref.Name}, o)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	p.sources.has[ref.Key()] = o
	return nil
}

// spec is what the app asks for, with its own configuration in it.
func (p *pass) spec() *v1alpha1.AppSpec {
	spec := object.Configured(p.app, p.app.Spec, p.sources.own)
	return &spec
}

// ownSecret is the app's own configuration, and nil if it has none.
func (p *pass) ownSecret() *corev1.Secret {
	if p.sources.own == nil {
		return nil
	}
	s, _ := p.sources.has[object.OwnRef(p.app).Key()].(*corev1.Secret)
	return s
}

// digestOf is the identity of what a source says.
func (p *pass) digestOf(o client.Object) string {
	switch o := o.(type) {
	case *corev1.ConfigMap:
		return p.digest.Of(o.Data, o.BinaryData)
	case *corev1.Secret:
		if object.IsOwn(p.app, o) {
			return p.digest.Of(object.OwnContent(&p.app.Spec, o, p.sources.own)...)
		}
		return p.digest.Of(o.Data)
	}
	return ""
}

// digestKey is the Secret that holds the key of all digests. Equal values have
// equal digests everywhere in a cloud, so that two places can be compared.
const digestKey = "sampan-config-digest"

// digests keeps the key of the digests once it has been read.
type digests struct {
	mu  sync.Mutex
	key object.Digester
}

// digester reads the key of the digests, and makes it when there is none yet.
func (r *reconciler) digester(ctx context.Context) (object.Digester, error) {
	r.digests.mu.Lock()
	defer r.digests.mu.Unlock()
	if r.digests.key != nil {
		return r.digests.key, nil
	}
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: r.cfg.GatewayNamespace, Name: digestKey}}
	err := r.direct.Get(ctx, client.ObjectKeyFromObject(s), s)
	if apierrors.IsNotFound(err) {
		key := make([]byte, 32)
		if _, err := rand.Read(key); err != nil {
			return nil, err
		}
		s.Data = map[string][]byte{"key": key}
		if err = r.Create(ctx, s); apierrors.IsAlreadyExists(err) {
			err = r.direct.Get(ctx, client.ObjectKeyFromObject(s), s)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("key of the configuration's digests: %w", err)
	}
	if len(s.Data["key"]) == 0 {
		return nil, fmt.Errorf("secret %s/%s has no key: %w", s.Namespace, s.Name, fault.Corrupt)
	}
	r.digests.key = s.Data["key"]
	return r.digests.key, nil
}

// restoreOwn gives the app the configuration back that a revision was made
// with. Files that change in running copies stay as they are, for they are not
// the revision's.
func (p *pass) restoreOwn(ctx context.Context, rev object.Revision) error {
	now := p.ownSecret()
	data, keys := map[string][]byte{}, map[string]object.Key{}
	if now != nil && object.Live(&rev.Spec) {
		for name, k := range p.sources.own {
			if k.Path != "" {
				data[name], keys[name] = now.Data[name], k
			}
		}
	}
	if len(rev.Own) > 0 {
		var kept corev1.Secret
		at := types.NamespacedName{Namespace: p.app.Namespace, Name: object.FrozenName(p.app, rev.Name, object.ConfigName(p.app))}
		if err := p.direct.Get(ctx, at, &kept); err != nil {
			return fmt.Errorf("configuration of %s: %w", rev.Name, err)
		}
		for name, k := range rev.Own {
			if _, stays := keys[name]; !stays {
				data[name], keys[name] = kept.Data[name], k
			}
		}
	}
	if now == nil && len(data) == 0 {
		return nil
	}
	want, err := object.OwnSecret(p.app, data, keys)
	if err != nil {
		return err
	}
	want.Annotations[v1alpha1.AnnotationCause] = "app rollback to " + rev.Name
	// Who has asked for the rollback, not who carries it out.
	want.Annotations[v1alpha1.AnnotationChangedBy] = p.app.Annotations[v1alpha1.AnnotationChangedBy]
	if now == nil {
		err = p.Create(ctx, want)
	} else if !equality.Semantic.DeepEqual(want.Data, now.Data) || !maps.Equal(keys, p.sources.own) {
		want.ResourceVersion = now.ResourceVersion
		err = p.Update(ctx, want)
	}
	if err != nil {
		return fmt.Errorf("configuration of %s: %w", rev.Name, err)
	}
	return p.readSources(ctx)
}

// tooLarge says whether an object cannot be kept because of its size.
func tooLarge(err error) bool {
	var status apierrors.APIStatus
	return apierrors.IsRequestEntityTooLargeError(err) || apierrors.IsInvalid(err) ||
		errors.As(err, &status) && status.Status().Code == 413
}
