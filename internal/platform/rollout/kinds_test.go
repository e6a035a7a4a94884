package rollout

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sampan-cloud/sampan/api/v1alpha1"
	"github.com/sampan-cloud/sampan/internal/platform/rollout/internal/object"
)

func (w *world) get(name string, o client.Object) {
	w.t.Helper()
	if err := w.c.Get(context.Background(), types.NamespacedName{Namespace: "shop", Name: name}, o); err != nil {
		w.t.Fatal(err)
	}
}

// run makes a ready pod of a template.
func (w *world) run(name string, template corev1.PodTemplateSpec) {
	w.t.Helper()
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "shop", Labels: template.Labels}}
	p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
	p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: object.ContainerName, ImageID: "db@sha256:abc"}}
	if err := w.c.Create(context.Background(), p); err != nil {
		w.t.Fatal(err)
	}
}

func TestAnAppWithVolumesIsAStatefulSetWhoseCopiesAreReplacedOnce(t *testing.T) {
	size, one := resource.MustParse("1Gi"), int32(1)
	w := newWorld(t, web("db", func(a *v1alpha1.App) {
		a.Spec.Volumes = []v1alpha1.Volume{{Name: "data", Path: "/data", Size: &size}}
		a.Spec.Scale = &v1alpha1.Scale{Min: &one}
	}))
	w.ticks(2)
	var set appsv1.StatefulSet
	w.get("db", &set)
	expect(t, "route", w.weights("db"), "db=100")
	expect(t, "image", set.Spec.Template.Spec.Containers[0].Image, "web:1")
	first := set.DeepCopy()
	w.run("db-0", set.Spec.Template)
	w.look("db")
	w.get("db", &set)
	if set.ResourceVersion != first.ResourceVersion {
		t.Errorf("the StatefulSet was written when its image's digest became known: %+v", set.Spec.Template.Spec.Containers[0].Image)
	}
	w.change("db", image("web:2"))
	w.look("db")
	w.get("db", &set)
	expect(t, "image after a change", set.Spec.Template.Spec.Containers[0].Image, "web:2")
	expect(t, "rollout", string(w.app("db").Status.Rollout.Phase), "Starting")
	w.run("db-1", set.Spec.Template)
	w.look("db")
	expect(t, "live", w.app("db").Status.Live, "r2")
}

func TestAJobRunsOnceForEachRevision(t *testing.T) {
	w := newWorld(t, web("load", func(a *v1alpha1.App) { a.Spec.Kind, a.Spec.Ports = v1alpha1.Job, nil }))
	w.ticks(2)
	var j batchv1.Job
	w.get("load-r1", &j)
	j.Status.Conditions = []batchv1.JobCondition{{Type: batchv1.JobComplete, Status: corev1.ConditionTrue}}
	if err := w.c.Status().Update(context.Background(), &j); err != nil {
		t.Fatal(err)
	}
	w.ticks(2)
	expect(t, "Ready", w.condition("load", v1alpha1.ConditionReady), "Completed: ")
	w.change("load", image("load:2"))
	w.ticks(2)
	w.get("load-r2", &j)
	expect(t, "live", w.app("load").Status.Live, "r2")
	before := w.app("load").ResourceVersion
	w.ticks(3)
	expect(t, "version of a job for which nothing happens", w.app("load").ResourceVersion, before)
}

func TestAFailedJobSaysHowItsLastCopyEnded(t *testing.T) {
	const limit = "Job has reached the specified backoff limit"
	noon := time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	end := func(code int32, after time.Duration, message string) corev1.ContainerStateTerminated {
		return corev1.ContainerStateTerminated{ExitCode: code, FinishedAt: metav1.NewTime(noon.Add(after)), Message: message}
	}
	for name, tt := range map[string]struct {
		revision string
		ends     []corev1.ContainerStateTerminated
		want     string
	}{
		"the last of two":      {"r1", []corev1.ContainerStateTerminated{end(3, time.Minute, "panic:\n  no such table\n"), end(1, 0, "no route")}, limit + ": exit code 3: no such table"},
		"without a word":       {"r1", []corev1.ContainerStateTerminated{end(137, 0, "")}, limit + ": exit code 137"},
		"with a line too long": {"r1", []corev1.ContainerStateTerminated{end(3, 0, strings.Repeat("长", 500))}, limit + ": exit code 3: " + strings.Repeat("长", 200)},
		"of another revision":  {"r0", []corev1.ContainerStateTerminated{end(3, 0, "no route")}, limit},
		"with no copy left":    {"r1", nil, limit},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, web("load", func(a *v1alpha1.App) { a.Spec.Kind, a.Spec.Ports = v1alpha1.Job, nil }))
			w.ticks(2)
			var j batchv1.Job
			w.get("load-r1", &j)
			expect(t, "the message of a copy without one", string(j.Spec.Template.Spec.Containers[0].TerminationMessagePolicy), "FallbackToLogsOnError")
			labels := maps.Clone(j.Spec.Template.Labels)
			labels[v1alpha1.LabelRevision] = tt.revision
			for i, terminated := range tt.ends {
				p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("load-r1-%d", i), Namespace: "shop", Labels: labels}}
				p.Status.Phase = corev1.PodFailed
				p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: object.ContainerName, State: corev1.ContainerState{Terminated: &terminated}}}
				if err := w.c.Create(context.Background(), p); err != nil {
					t.Fatal(err)
				}
			}
			j.Status.Conditions = []batchv1.JobCondition{{Type: batchv1.JobFailed, Status: corev1.ConditionTrue, Message: limit}}
			if err := w.c.Status().Update(context.Background(), &j); err != nil {
				t.Fatal(err)
			}
			w.look("load")
			app := w.app("load")
			ready := meta.FindStatusCondition(app.Status.Conditions, v1alpha1.ConditionReady)
			expect(t, "Ready", ready.Reason+": "+ready.Message, "Failed: "+tt.want)
			expect(t, "Degraded", w.condition("load", v1alpha1.ConditionDegraded), "Failed: "+tt.want)
		})
	}
}

func TestACronRunsTheNewestRevision(t *testing.T) {
	schedule := "5 4 * * *"
	w := newWorld(t, web("report", func(a *v1alpha1.App) { a.Spec.Kind, a.Spec.Ports, a.Spec.Schedule = v1alpha1.Cron, nil, &schedule }))
	w.ticks(2)
	w.change("report", image("report:2"))
	w.ticks(2)
	var c batchv1.CronJob
	w.get("report", &c)
	expect(t, "schedule", c.Spec.Schedule, schedule)
	expect(t, "image", c.Spec.JobTemplate.Spec.Template.Spec.Containers[0].Image, "report:2")
	expect(t, "Ready", w.condition("report", v1alpha1.ConditionReady), "Scheduled: ")
	w.change("report", func(a *v1alpha1.App) { a.Spec.Kind, a.Spec.Schedule = v1alpha1.Worker, nil })
	w.ticks(2)
	expect(t, "copies when it became a worker", w.copies(), "report-r3=1")
	if err := w.c.Get(context.Background(), types.NamespacedName{Namespace: "shop", Name: "report"}, &c); err == nil {
		t.Error("the CronJob is still there")
	}
}

func TestANameThatIsSomebodyElsesIsLeftAlone(t *testing.T) {
	mine := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "shop"}, Spec: corev1.ServiceSpec{Selector: map[string]string{"a": "b"}}}
	w := newWorld(t, mine, web("web"))
	w.ticks(2)
	expect(t, "Degraded", w.condition("web", v1alpha1.ConditionDegraded), "NameTaken: Service web: the name belongs to somebody else: already exists")
	var s corev1.Service
	w.get("web", &s)
	expect(t, "its selector", s.Spec.Selector["a"], "b")
}

func TestTheHistoryIsKeptForTenRevisions(t *testing.T) {
	w := newWorld(t, web("web"))
	w.ticks(2)
	for i := range 14 {
		w.change("web", func(a *v1alpha1.App) { a.Spec.Args = []string{object.RevisionName(int64(i))} })
		w.ticks(12)
	}
	var list appsv1.ControllerRevisionList
	if err := w.c.List(context.Background(), &list); err != nil || len(list.Items) > kept+1 || len(list.Items) < kept {
		t.Errorf("%d revisions are kept, %v; want %d", len(list.Items), err, kept)
	}
	expect(t, "live", w.app("web").Status.Live, "r15")
	expect(t, "copies", w.copies(), "web-r15=1")
}

func TestCommandsAreObeyedOnce(t *testing.T) {
	w := newWorld(t, web("web", canary("1h")))
	w.ticks(3)
	w.order("web", "promote#1")
	w.ticks(2)
	expect(t, "promote without a rollout", w.app("web").Status.Command.Message, "no rollout is under way")
	w.change("web", image("web:2"))
	w.ticks(3)
	expect(t, "weights", w.weights("web"), "web-r1=90 web-r2=10")
	w.order("web", "abort#2")
	w.ticks(2)
	expect(t, "weights when aborted", w.weights("web"), "web-r1=100 web-r2=0")
	w.order("web", "resume#3")
	w.ticks(3)
	expect(t, "weights when resumed", w.weights("web"), "web-r1=90 web-r2=10")
	w.order("web", "promote#4")
	w.ticks(12)
	expect(t, "live when promoted", w.app("web").Status.Live, "r2")
	w.order("web", "rollback#5")
	w.ticks(6)
	expect(t, "live when rolled back", w.app("web").Status.Live, "r1")
	w.order("web", "rollback:77#6")
	w.ticks(2)
	expect(t, "an unknown revision", w.app("web").Status.Command.Message, "revision r77 is not in the history")
	w.change("web", image("web:3"))
	w.ticks(3)
	w.change("web", image("web:1"))
	w.ticks(5)
	expect(t, "weights when the app asks for the old version again", w.weights("web"), "web-r1=100")
	expect(t, "Degraded then", w.condition("web", v1alpha1.ConditionDegraded), "")
	w.order("web", "dance#7")
	w.ticks(2)
	expect(t, "an unknown command", w.app("web").Status.Command.Message, `"dance" is none of promote, abort, pause, resume and rollback`)
}

func TestAChangedFileIsAnnouncedAndShipsNothing(t *testing.T) {
	config := &corev1.ConfigMap{ObjectMeta: watched("conf"), Data: map[string]string{"k": "1"}}
	w := newWorld(t, config, web("web", func(a *v1alpha1.App) {
		a.Spec.Files = []v1alpha1.File{{Path: "/etc/web/web.conf", ConfigMap: &v1alpha1.KeyRef{Name: "conf", Key: "k"}}}
		a.Spec.Reload = v1alpha1.Reload{How: "signal", Signal: "USR1"}
	}))
	w.ticks(4)
	if len(w.signals) > 0 {
		t.Errorf("signals %v before anything has changed", w.signals)
	}
	config.Data["k"] = "2"
	if err := w.c.Update(context.Background(), config); err != nil {
		t.Fatal(err)
	}
	w.tick()
	if len(w.signals) > 0 {
		t.Errorf("signals %v before the node can have replaced the file", w.signals)
	}
	w.ticks(5)
	if len(w.signals) != 1 || w.signals[0] != "web-r1-0 USR1" {
		t.Errorf("signals %v, want one USR1", w.signals)
	}
	expect(t, "live", w.app("web").Status.Live, "r1")
}
