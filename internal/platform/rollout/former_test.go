package rollout

import (
	"context"
	"fmt"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sampan-cloud/sampan/api/v1alpha1"
)

// objects counts what belongs to apps named web.
func (w *world) objects() int {
	w.t.Helper()
	n := 0
	for _, list := range []client.ObjectList{&appsv1.DeploymentList{}, &corev1.ServiceList{}, &appsv1.ControllerRevisionList{}} {
		if err := w.c.List(context.Background(), list, client.MatchingLabels{v1alpha1.LabelApp: "web"}); err != nil {
			w.t.Fatal(err)
		}
		switch l := list.(type) {
		case *appsv1.DeploymentList:
			n += len(l.Items)
		case *corev1.ServiceList:
			n += len(l.Items)
		case *appsv1.ControllerRevisionList:
			n += len(l.Items)
		}
	}
	return n
}

func TestAnAppThatIsGoneLeavesNothing(t *testing.T) {
	w := newWorld(t, web("web"))
	w.ticks(3)
	if w.objects() == 0 {
		t.Fatal("the app has no objects")
	}
	if err := w.c.Delete(context.Background(), w.app("web")); err != nil {
		t.Fatal(err)
	}
	w.look("web")
	if n := w.objects(); n > 0 {
		t.Errorf("%d objects are left", n)
	}
}

func TestAnAppThatIsDeployedAgainAtOnceDoesNotWaitForItsName(t *testing.T) {
	w := newWorld(t, web("web"))
	w.ticks(3)
	if err := w.c.Delete(context.Background(), w.app("web")); err != nil {
		t.Fatal(err)
	}
	again := web("web", image("web:2"), func(a *v1alpha1.App) { a.UID = "second" })
	if err := w.c.Create(context.Background(), again); err != nil {
		t.Fatal(err)
	}
	w.ticks(2)
	expect(t, "image", w.deployment("web-r1").Spec.Template.Spec.Containers[0].Image, "web:2")
	expect(t, "Degraded", w.condition("web", v1alpha1.ConditionDegraded), "")
	expect(t, "owner", fmt.Sprint(metav1.GetControllerOf(w.deployment("web-r1")).UID), "second")
}

func TestWhatHasBeenOrphanedStays(t *testing.T) {
	w := newWorld(t, web("web"))
	w.ticks(3)
	d := w.deployment("web-r1")
	seen := d.DeepCopy()
	d.OwnerReferences = nil
	if err := w.c.Update(context.Background(), d); err != nil {
		t.Fatal(err)
	}
	// As the cache still has it, with its owner.
	if err := w.r.remove(context.Background(), seen); err != nil {
		t.Fatal(err)
	}
	if err := w.c.Delete(context.Background(), w.app("web")); err != nil {
		t.Fatal(err)
	}
	w.look("web")
	var left appsv1.Deployment
	if err := w.c.Get(context.Background(), types.NamespacedName{Namespace: "shop", Name: "web-r1"}, &left); err != nil {
		t.Errorf("a Deployment that nobody owns any more: %v", err)
	}
}
