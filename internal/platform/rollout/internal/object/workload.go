package object

import (
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/sampan-cloud/sampan/api/v1alpha1"
)

// Deployment runs the copies of one revision. Another revision has another
// Deployment, so this one never rolls.
func Deployment(app *v1alpha1.App, r Revision, pod corev1.PodTemplateSpec, copies int32) *appsv1.Deployment {
	history, deadline := int32(0), int32(600)
	all := intstr.FromString("100%")
	return &appsv1.Deployment{
		ObjectMeta: meta(app, Name(app, r.Name), r.Name),
		Spec: appsv1.DeploymentSpec{
			Replicas: &copies, Selector: &metav1.LabelSelector{MatchLabels: Selector(app, r.Name)}, Template: pod,
			RevisionHistoryLimit: &history, ProgressDeadlineSeconds: &deadline,
			Strategy: appsv1.DeploymentStrategy{
				Type:          appsv1.RollingUpdateDeploymentStrategyType,
				RollingUpdate: &appsv1.RollingUpdateDeployment{MaxSurge: &all},
			},
		},
	}
}

// StatefulSet runs all copies of an app that have volumes of their own. One
// object serves every revision, because a volume belongs to one copy, and so
// the StatefulSet's own controller replaces the copies one by one: those that
// may be new are the last, and all others stay as they are.
func StatefulSet(app *v1alpha1.App, r Revision, pod corev1.PodTemplateSpec, copies, mayBeNew int32) *appsv1.StatefulSet {
	history, stay := int32(2), max(0, copies-mayBeNew)
	return &appsv1.StatefulSet{
		ObjectMeta: meta(app, app.Name, ""),
		Spec: appsv1.StatefulSetSpec{
			Replicas: &copies, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{v1alpha1.LabelApp: app.Name}},
			Template: pod, ServiceName: PeersName(app), RevisionHistoryLimit: &history,
			PodManagementPolicy:  appsv1.OrderedReadyPodManagement,
			VolumeClaimTemplates: ownClaims(app, &r.Spec),
			UpdateStrategy: appsv1.StatefulSetUpdateStrategy{
				Type:          appsv1.RollingUpdateStatefulSetStrategyType,
				RollingUpdate: &appsv1.RollingUpdateStatefulSetStrategy{Partition: &stay},
			},
		},
	}
}

// DaemonSet runs one copy on each node. A copy is replaced when it is deleted,
// which is left to whoever ships: the DaemonSet's own way knows no judge.
func DaemonSet(app *v1alpha1.App, r Revision, pod corev1.PodTemplateSpec) *appsv1.DaemonSet {
	history := int32(2)
	return &appsv1.DaemonSet{
		ObjectMeta: meta(app, app.Name, ""),
		Spec: appsv1.DaemonSetSpec{
			Selector: &metav1.LabelSelector{MatchLabels: map[string]string{v1alpha1.LabelApp: app.Name}},
			Template: pod, RevisionHistoryLimit: &history,
			UpdateStrategy: appsv1.DaemonSetUpdateStrategy{Type: appsv1.OnDeleteDaemonSetStrategyType},
		},
	}
}

// Job runs one revision once.
func Job(app *v1alpha1.App, r Revision, pod corev1.PodTemplateSpec) *batchv1.Job {
	return &batchv1.Job{ObjectMeta: meta(app, Name(app, r.Name), r.Name), Spec: jobSpec(&r.Spec, pod)}
}

// CronJob runs the newest revision by its schedule.
func CronJob(app *v1alpha1.App, r Revision, pod corev1.PodTemplateSpec) *batchv1.CronJob {
	policy := batchv1.ConcurrencyPolicy(r.Spec.Retry.Overlap)
	if policy == "" {
		policy = batchv1.ForbidConcurrent
	}
	schedule := ""
	if r.Spec.Schedule != nil {
		schedule = *r.Spec.Schedule
	}
	return &batchv1.CronJob{
		ObjectMeta: meta(app, app.Name, ""),
		Spec: batchv1.CronJobSpec{
			Schedule: schedule, TimeZone: r.Spec.TimeZone, ConcurrencyPolicy: policy,
			JobTemplate: batchv1.JobTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: Labels(app, r.Name)}, Spec: jobSpec(&r.Spec, pod)},
		},
	}
}

func jobSpec(spec *v1alpha1.AppSpec, pod corev1.PodTemplateSpec) batchv1.JobSpec {
	limit := int32(3)
	if spec.Retry.Limit != nil {
		limit = *spec.Retry.Limit
	}
	out := batchv1.JobSpec{BackoffLimit: &limit, Template: pod}
	if spec.Retry.Timeout != nil {
		seconds := int64(spec.Retry.Timeout.Duration / time.Second)
		out.ActiveDeadlineSeconds = &seconds
	}
	return out
}
