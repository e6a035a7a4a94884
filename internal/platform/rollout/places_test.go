package rollout

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sampan-cloud/sampan/api/v1alpha1"
	"github.com/sampan-cloud/sampan/internal/platform/rollout/internal/object"
)

// place puts a copy where a workload has none. It is ready unless its image is
// refused.
func (w *world) place(name string, owner metav1.Object, kind string, template corev1.PodTemplateSpec) {
	w.t.Helper()
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "shop", Labels: template.Labels,
		OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(owner, schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: kind})}}}
	image := template.Spec.Containers[0].Image
	p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: object.ContainerName, ImageID: "docker.io/web@sha256:" + strings.Repeat("a", 64)}}
	if why := w.refuses[image]; why != "" {
		p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: object.ContainerName, State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff", Message: why}}}}
	} else {
		p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
	}
	if err := w.c.Create(context.Background(), p); err != nil {
		w.t.Fatal(err)
	}
}

// podsOf tells the revision of each copy of an app, in order.
func (w *world) podsOf(app string) string {
	w.t.Helper()
	var pods corev1.PodList
	if err := w.c.List(context.Background(), &pods, client.MatchingLabels{v1alpha1.LabelApp: app}); err != nil {
		w.t.Fatal(err)
	}
	var out []string
	for _, p := range pods.Items {
		out = append(out, p.Labels[v1alpha1.LabelRevision])
	}
	return strings.Join(out, " ")
}

// set does what the controller of StatefulSets does in a second: it replaces the
// last copy that may be new, when all others are ready, or makes one that lacks.
func (w *world) set(name string) {
	w.t.Helper()
	var set appsv1.StatefulSet
	w.get(name, &set)
	old := set.Spec.Template.DeepCopy()
	for i := *set.Spec.Replicas - 1; i >= 0; i-- {
		var p corev1.Pod
		at := types.NamespacedName{Namespace: "shop", Name: fmt.Sprintf("%s-%d", name, i)}
		err := w.c.Get(context.Background(), at, &p)
		switch {
		case apierrors.IsNotFound(err):
			w.place(at.Name, &set, "StatefulSet", *old)
			return
		case !podReady(&p):
			return
		case i >= *set.Spec.UpdateStrategy.RollingUpdate.Partition && p.Labels[v1alpha1.LabelRevision] != set.Spec.Template.Labels[v1alpha1.LabelRevision]:
			if err := w.c.Delete(context.Background(), &p); err != nil {
				w.t.Fatal(err)
			}
			w.place(at.Name, &set, "StatefulSet", set.Spec.Template)
			return
		}
	}
}

func database(change ...func(*v1alpha1.App)) *v1alpha1.App {
	return web("db", append(change, func(a *v1alpha1.App) {
		size, n := resource.MustParse("1Gi"), int32(3)
		a.Spec.Volumes = []v1alpha1.Volume{{Name: "data", Path: "/data", Size: &size}}
		a.Spec.Scale = &v1alpha1.Scale{Replicas: &n}
	})...)
}

func (w *world) sets(n int) {
	for range n {
		w.tick()
		w.set("db")
	}
}

func judged(a *v1alpha1.App) { a.Spec.Rollout = &v1alpha1.Rollout{Judge: &v1alpha1.Judge{}} }

func TestCopiesWithVolumesAreReplacedOneByOneAndWatched(t *testing.T) {
	w := newWorld(t, database(judged))
	w.tick()
	w.sets(5)
	expect(t, "copies", w.podsOf("db"), "r1 r1 r1")
	expect(t, "state", w.app("db").Status.Copies, "3/3")
	w.change("db", image("web:2"))
	w.sets(3)
	expect(t, "copies when the first is replaced", w.podsOf("db"), "r1 r1 r2")
	w.sets(3)
	expect(t, "copies while it is watched", w.podsOf("db"), "r1 r1 r2")
	expect(t, "route", w.weights("db"), "db=100")
	w.sets(20)
	expect(t, "copies in the end", w.podsOf("db"), "r2 r2 r2")
	expect(t, "live", w.app("db").Status.Live, "r2")
}

func TestABadVersionOfCopiesWithVolumesIsTakenBack(t *testing.T) {
	for name, tt := range map[string]struct {
		image string
		fails int64 // of a hundred requests a second
		why   string
	}{
		"one that fails":            {"web:2", 30, "requests failed within"},
		"one that cannot be pulled": {"web:3", 0, "ImagePullBackOff: no such image"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, database(judged, func(a *v1alpha1.App) { a.Spec.Rollout.Deadline = &metav1.Duration{Duration: 20 * time.Second} }))
			w.refuses["web:3"] = "no such image"
			w.tick()
			w.sets(5)
			w.change("db", image(tt.image))
			w.sets(3)
			expect(t, "copies when the first is replaced", w.podsOf("db"), "r1 r1 r2")
			began := w.now
			for w.app("db").Status.Rollout.Phase != v1alpha1.PhaseTakenBack && w.now.Sub(began) < time.Minute {
				w.serve("db", 100, tt.fails)
				w.sets(1)
			}
			if took := w.now.Sub(began); tt.fails > 0 && took > 10*time.Second {
				t.Errorf("taken back after %s, want at most 10s", took)
			}
			w.sets(5)
			expect(t, "copies", w.podsOf("db"), "r1 r1 r1")
			if got := w.condition("db", v1alpha1.ConditionDegraded); !strings.Contains(got, tt.why) {
				t.Errorf("Degraded = %q, want %q", got, tt.why)
			}
		})
	}
}

// nodes does what the controller of DaemonSets does: a copy where there is none.
func (w *world) nodes(n, ticks int) {
	w.t.Helper()
	for range ticks {
		var set appsv1.DaemonSet
		w.get("agent", &set)
		set.Status.DesiredNumberScheduled, set.Status.ObservedGeneration = int32(n), set.Generation
		if err := w.c.Status().Update(context.Background(), &set); err != nil {
			w.t.Fatal(err)
		}
		for i := range n {
			at := types.NamespacedName{Namespace: "shop", Name: fmt.Sprintf("agent-%d", i)}
			if err := w.c.Get(context.Background(), at, &corev1.Pod{}); apierrors.IsNotFound(err) {
				w.place(at.Name, &set, "DaemonSet", set.Spec.Template)
			}
		}
		w.tick()
	}
}

func agent(change ...func(*v1alpha1.App)) *v1alpha1.App {
	return web("agent", append(change, func(a *v1alpha1.App) { a.Spec.PerNode = true })...)
}

func TestAnAppOnEveryNodeIsReplacedNodeByNode(t *testing.T) {
	w := newWorld(t, agent(judged))
	w.tick()
	w.nodes(4, 2)
	expect(t, "copies", w.podsOf("agent"), "r1 r1 r1 r1")
	expect(t, "state", w.app("agent").Status.Copies, "4/4")
	expect(t, "Deployments", w.copies(), "")
	w.change("agent", image("web:2"))
	seen := map[string]bool{}
	for range 40 {
		w.nodes(4, 1)
		seen[w.podsOf("agent")] = true
	}
	for _, pods := range []string{"r2 r1 r1 r1", "r2 r2 r1 r1", "r2 r2 r2 r1", "r2 r2 r2 r2"} {
		if !seen[pods] {
			t.Errorf("the copies were never %s; they were %v", pods, seen)
		}
	}
	expect(t, "live", w.app("agent").Status.Live, "r2")
	w.order("agent", "rollback#1")
	w.nodes(4, 20)
	expect(t, "copies after a rollback", w.podsOf("agent"), "r1 r1 r1 r1")
}

func TestABadVersionOnOneNodeIsTakenBack(t *testing.T) {
	w := newWorld(t, agent(judged, func(a *v1alpha1.App) { a.Spec.Rollout.Deadline = &metav1.Duration{Duration: 20 * time.Second} }))
	w.refuses["web:3"] = "no such image"
	w.tick()
	w.nodes(4, 2)
	w.change("agent", image("web:3"))
	w.nodes(4, 10)
	if got := w.podsOf("agent"); got != "r2 r1 r1 r1" && got != "r1 r1 r1" {
		t.Errorf("copies = %s, want one that is new", got)
	}
	w.nodes(4, 25)
	expect(t, "copies", w.podsOf("agent"), "r1 r1 r1 r1")
	if got := w.condition("agent", v1alpha1.ConditionDegraded); !strings.Contains(got, "TakenBack") || !strings.Contains(got, "no such image") {
		t.Errorf("Degraded = %q, want the reason", got)
	}
}
