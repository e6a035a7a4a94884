package rollout

import (
	"context"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sampan-cloud/sampan/api/v1alpha1"
)

// waiting makes a pod of a revision that has come nowhere yet.
func (w *world) waiting(app, revision string, conditions ...corev1.PodCondition) {
	w.t.Helper()
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: app + "-waits", Namespace: "shop",
		Labels: map[string]string{v1alpha1.LabelApp: app, v1alpha1.LabelRevision: revision}}}
	p.Status.Phase, p.Status.Conditions = corev1.PodPending, conditions
	if err := w.c.Create(context.Background(), p); err != nil {
		w.t.Fatal(err)
	}
}

func TestAVolumeThatCannotBeMadeSaysWhy(t *testing.T) {
	size := resource.MustParse("1Gi")
	w := newWorld(t, web("web", func(a *v1alpha1.App) {
		a.Spec.Volumes = []v1alpha1.Volume{{Name: "data", Path: "/data", Size: &size, Shared: true}}
	}))
	w.look("web")
	var claim corev1.PersistentVolumeClaim
	w.get("web-data", &claim)
	claim.UID, claim.Status.Phase = "claim", corev1.ClaimPending
	if err := w.c.Update(context.Background(), &claim); err != nil {
		t.Fatal(err)
	}
	for name, e := range map[string]corev1.Event{
		"first": {Type: corev1.EventTypeWarning, Message: "too early"},
		"last":  {Type: corev1.EventTypeWarning, Message: "access mode ReadWriteMany: not supported", LastTimestamp: metav1.NewTime(w.now)},
		"busy":  {Type: corev1.EventTypeNormal, Message: "is being made", LastTimestamp: metav1.NewTime(w.now.AddDate(1, 0, 0))},
	} {
		e.ObjectMeta = metav1.ObjectMeta{Name: name, Namespace: "shop"}
		e.InvolvedObject.UID = "claim"
		if err := w.c.Create(context.Background(), &e); err != nil {
			t.Fatal(err)
		}
	}
	w.waiting("web", "r1")
	w.look("web")
	expect(t, "Degraded", w.condition("web", v1alpha1.ConditionDegraded),
		"VolumeMissing: the volume data cannot be made: access mode ReadWriteMany: not supported")
}

func TestAClaimThatIsMissingIsNoLackOfRoom(t *testing.T) {
	w := newWorld(t, web("web", func(a *v1alpha1.App) {
		a.Spec.Volumes = []v1alpha1.Volume{{Name: "data", Path: "/data", Claim: "none"}}
	}))
	w.look("web")
	w.waiting("web", "r1", corev1.PodCondition{Type: corev1.PodScheduled, Status: corev1.ConditionFalse,
		Reason: corev1.PodReasonUnschedulable, Message: `0/1 nodes are available: persistentvolumeclaim "none" not found.`})
	w.look("web")
	expect(t, "Degraded", w.condition("web", v1alpha1.ConditionDegraded),
		`VolumeMissing: 0/1 nodes are available: persistentvolumeclaim "none" not found.`)
}
