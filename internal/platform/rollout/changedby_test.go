package rollout

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/authentication/user"

	"github.com/sampan-cloud/sampan/api/v1alpha1"
	"github.com/sampan-cloud/sampan/internal/platform/rollout/internal/object"
)

func settings(by, colour string, labels ...string) *corev1.ConfigMap {
	c := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "settings", Labels: map[string]string{}}, Data: map[string]string{"colour": colour}}
	for _, l := range append(labels, v1alpha1.LabelConfig) {
		c.Labels[l] = ""
	}
	if by != "" {
		c.Annotations = map[string]string{v1alpha1.AnnotationChangedBy: by}
	}
	return c
}

func plainApp(by, image, wake string) *unstructured.Unstructured {
	annotations := map[string]any{v1alpha1.AnnotationWake: wake}
	if by != "" {
		annotations[v1alpha1.AnnotationChangedBy] = by
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": v1alpha1.GroupVersion.String(), "kind": "App",
		"metadata": map[string]any{"name": "web", "annotations": annotations}, "spec": map[string]any{"image": image},
	}}
}

func TestWhoHasChangedIsWhatTheServerKnows(t *testing.T) {
	unwatched := settings("mallory", "red")
	unwatched.Labels = nil
	none := (*corev1.ConfigMap)(nil)
	for name, tt := range map[string]struct {
		user       string
		now        runtime.Object
		before     runtime.Object
		want       string
		privileged bool
	}{
		"who makes it":                             {"alice", settings("", "red"), none, "alice", false},
		"not who is claimed to":                    {"alice", settings("mallory", "red"), none, "alice", false},
		"who changes it":                           {"bob", settings("alice", "blue"), settings("alice", "red"), "bob", false},
		"not who changes nothing":                  {"bob", settings("bob", "red", "other"), settings("alice", "red"), "alice", false},
		"nobody, when it was not known before":     {"bob", settings("bob", "red"), settings("", "red"), "", false},
		"for whom the controller carries it out":   {"sampan", settings("alice", "blue"), settings("bob", "red"), "alice", true},
		"not for whom another of its name does":    {"sampan", settings("alice", "blue"), settings("bob", "red"), "sampan", false},
		"who makes it configuration":               {"bob", settings("alice", "red"), unwatched, "bob", false},
		"nobody, when it is only watched from now": {"sampan", settings("mallory", "red"), unwatched, "", true},
		"who takes it out of sight":                {"bob", unwatched, settings("alice", "blue"), "bob", false},
		"what configures nothing is left alone":    {"alice", unwatched, none, "mallory", false},
		"who changes an app":                       {"bob", plainApp("alice", "web:2", ""), plainApp("alice", "web:1", ""), "bob", false},
		"not the gateway, that wakes an app":       {"gateway", plainApp("alice", "web:1", "now"), plainApp("alice", "web:1", ""), "alice", false},
		"not a client that takes the account away": {"bob", plainApp("", "web:1", ""), plainApp("alice", "web:1", ""), "alice", false},
	} {
		t.Run(name, func(t *testing.T) {
			scheme, err := newScheme()
			if err != nil {
				t.Fatal(err)
			}
			kind, resource := corev1.SchemeGroupVersion.WithKind("ConfigMap"), corev1.SchemeGroupVersion.WithResource("configmaps")
			if _, ok := tt.now.(*unstructured.Unstructured); ok {
				kind, resource = v1alpha1.GroupVersion.WithKind("App"), v1alpha1.GroupVersion.WithResource("apps")
			}
			operation, before := admission.Update, tt.before
			if before == runtime.Object(none) {
				operation, before = admission.Create, nil
			} else {
				before = before.DeepCopyObject()
			}
			who := &user.DefaultInfo{Name: tt.user}
			if tt.privileged {
				who.Groups = []string{user.SystemPrivilegedGroup}
			}
			got := admit(t, scheme, admission.NewAttributesRecord(tt.now.DeepCopyObject(), before, kind, "shop", "x", resource, "", operation, nil, false, who), kind)
			if got != tt.want {
				t.Errorf("changed by %q, want %q", got, tt.want)
			}
		})
	}
}

func admit(t *testing.T, scheme *runtime.Scheme, a admission.Attributes, kind schema.GroupVersionKind) string {
	t.Helper()
	for _, o := range []runtime.Object{a.GetObject(), a.GetOldObject()} {
		if o != nil {
			o.GetObjectKind().SetGroupVersionKind(kind)
		}
	}
	step := ChangedBy{Controller: "sampan"}
	if !step.Handles(a.GetOperation()) {
		t.Fatalf("%s is not handled", a.GetOperation())
	}
	if err := step.Admit(t.Context(), a, admission.NewObjectInterfacesFromScheme(scheme)); err != nil {
		t.Fatalf("Admit = %v", err)
	}
	o, ok := a.GetObject().(metav1.Object)
	if !ok {
		t.Fatalf("%T has no metadata", a.GetObject())
	}
	return o.GetAnnotations()[v1alpha1.AnnotationChangedBy]
}

func TestTheTrailTellsOfEveryChange(t *testing.T) {
	text := ""
	for _, by := range []string{"alice", "bob", "carol"} {
		text = object.ReadTrail(text).Add(by)
	}
	for name, tt := range map[string]struct {
		trail string
		since int64
		want  string
	}{
		"those after the last look":     {text, 1, "bob carol"},
		"none":                          {text, 3, ""},
		"all that it remembers":         {text, -50, "alice bob carol"},
		"one that is younger than that": {text, 9, ""},
		"none in what is no trail":      {"alice", 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := strings.Join(object.ReadTrail(tt.trail).Since(tt.since), " "); got != tt.want {
				t.Errorf("Since(%d) = %q, want %q", tt.since, got, tt.want)
			}
		})
	}
	for range 100 {
		text = object.ReadTrail(text).Add("dave")
	}
	if trail := object.ReadTrail(text); trail.Count != 103 || len(trail.By) > 20 {
		t.Errorf("trail = %+v, want 103 changes and the last few", trail)
	}
}
