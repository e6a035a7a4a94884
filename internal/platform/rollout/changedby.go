package rollout

import (
	"context"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/authentication/user"

	"github.com/sampan-cloud/sampan/api/v1alpha1"
	"github.com/sampan-cloud/sampan/internal/platform/rollout/internal/object"
)

// ChangedBy has an API server write down who changes apps and what configures
// them, in the annotation changed-by. Whatever a client says there is replaced:
// by its user when it changes what the object says, else by what was there.
//
// It is a step of the server itself and not a policy in its API, because such a
// policy refuses every App in the seconds after a start in which it does not yet
// know their schema.
type ChangedBy struct {
	// Controller is the user as which the Controller runs. It alone may name
	// another: the one whose command it carries out.
	Controller string
}

var _ admission.MutationInterface = ChangedBy{}

// Handles says which operations it is asked about.
func (ChangedBy) Handles(o admission.Operation) bool {
	return o == admission.Create || o == admission.Update
}

// Admit writes the annotation.
func (c ChangedBy) Admit(_ context.Context, a admission.Attributes, o admission.ObjectInterfaces) error {
	if a.GetSubresource() != "" || !watchedKind(a) {
		return nil
	}
	now, err := meta.Accessor(a.GetObject())
	if err != nil {
		return err
	}
	var before metav1.Object
	if a.GetOldObject() != nil {
		if before, err = meta.Accessor(a.GetOldObject()); err != nil {
			return err
		}
	}
	if a.GetResource().Group == "" && !labelled(now) && (before == nil || !labelled(before)) {
		return nil // nobody's configuration
	}
	var was map[string]string
	changed := true
	switch {
	case before == nil:
	case a.GetResource().Group == "" && !labelled(before):
		// What it says of its past is anybody's word. Whoever makes it
		// configuration answers for it, but for the controller, which only
		// begins to watch it.
		changed = !c.is(a.GetUserInfo())
	default:
		was = before.GetAnnotations()
		if changed, err = changes(a, o, now, before); err != nil {
			return err
		}
	}
	by, trail := was[v1alpha1.AnnotationChangedBy], was[v1alpha1.AnnotationChanges]
	if changed {
		if by = a.GetUserInfo().GetName(); c.is(a.GetUserInfo()) {
			by = now.GetAnnotations()[v1alpha1.AnnotationChangedBy]
		}
		if a.GetResource().Group == "" {
			trail = object.ReadTrail(trail).Add(by)
		}
	}
	annotate(now, v1alpha1.AnnotationChangedBy, by)
	annotate(now, v1alpha1.AnnotationChanges, trail)
	return nil
}

// annotate sets an annotation; an empty one is taken away.
func annotate(o metav1.Object, key, value string) {
	annotations := o.GetAnnotations()
	if annotations[key] == value {
		return
	}
	if annotations == nil {
		annotations = map[string]string{}
	}
	if annotations[key] = value; value == "" {
		delete(annotations, key)
	}
	o.SetAnnotations(annotations)
}

func (c ChangedBy) is(u user.Info) bool {
	return u.GetName() == c.Controller && slices.Contains(u.GetGroups(), user.SystemPrivilegedGroup)
}

func watchedKind(a admission.Attributes) bool {
	switch r := a.GetResource(); r.Group {
	case "":
		return r.Resource == "configmaps" || r.Resource == "secrets"
	case v1alpha1.GroupVersion.Group:
		return r.Resource == "apps"
	}
	return false
}

func labelled(o metav1.Object) bool {
	_, ok := o.GetLabels()[v1alpha1.LabelConfig]
	return ok
}

// changes says whether an update changes what the object says. That a request
// wakes an app does not, nor does a label.
func changes(a admission.Attributes, o admission.ObjectInterfaces, now, before metav1.Object) (bool, error) {
	for _, key := range []string{v1alpha1.AnnotationConfigKeys, v1alpha1.AnnotationCommand, v1alpha1.AnnotationRestart} {
		if now.GetAnnotations()[key] != before.GetAnnotations()[key] {
			return true, nil
		}
	}
	// As the API shows them: the server's own form of a Secret is not for others.
	v, err := admission.NewVersionedAttributes(a, a.GetKind(), o)
	if err != nil {
		return false, err
	}
	return !equality.Semantic.DeepEqual(content(v.VersionedObject), content(v.VersionedOldObject)), nil
}

func content(o runtime.Object) any {
	switch o := o.(type) {
	case *corev1.ConfigMap:
		return []any{o.Data, o.BinaryData}
	case *corev1.Secret:
		return o.Data
	case *unstructured.Unstructured:
		return o.Object["spec"]
	}
	return o
}
