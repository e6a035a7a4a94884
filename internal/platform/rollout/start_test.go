package rollout

import (
	"context"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sampan-cloud/sampan/api/v1alpha1"
)

func TestWhatCannotStartSaysWhyAndLeavesTheOldVersion(t *testing.T) {
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n"}, Status: corev1.NodeStatus{Allocatable: corev1.ResourceList{
		corev1.ResourceCPU: resource.MustParse("4"), corev1.ResourceMemory: resource.MustParse("8Gi")}}}
	for name, tt := range map[string]struct {
		change func(*v1alpha1.App)
		want   string
	}{
		"more memory than any node has": {
			func(a *v1alpha1.App) { q := resource.MustParse("64Gi"); a.Spec.Resources.Memory = &q },
			"NotEnoughResources: no node is large enough for one copy: it asks for 64Gi of memory, the node has 8192Mi"},
		"a ConfigMap that is missing": {
			func(a *v1alpha1.App) { a.Spec.EnvFrom = []v1alpha1.EnvFrom{{ConfigMap: "none"}} },
			"ConfigMissing: there is no configmap/none"},
		"a device that no node has": {
			func(a *v1alpha1.App) {
				a.Spec.Resources.Other = map[string]resource.Quantity{"nvidia.com/gpu": resource.MustParse("2")}
			},
			"NotEnoughResources: no node is large enough for one copy: it asks for 2 of nvidia.com/gpu, the node has 0"},
		"more of two resources than any node has": {
			func(a *v1alpha1.App) {
				cpu, memory := resource.MustParse("9"), resource.MustParse("64Gi")
				a.Spec.Resources.CPU, a.Spec.Resources.Limits.Memory = &cpu, &memory
			},
			"NotEnoughResources: no node is large enough for one copy: it asks for 64Gi of memory, the node has 8192Mi, it asks for 9 of cpu, the node has 4"},
		"the address of an app that is missing": {
			func(a *v1alpha1.App) {
				a.Spec.Env = []v1alpha1.EnvVar{{Name: "API", From: &v1alpha1.EnvSource{App: &v1alpha1.AppRef{Name: "none"}}}}
			},
			"DependencyMissing: env API: there is no app none"},
		"apps that wait for each other": {
			func(a *v1alpha1.App) { a.Spec.DependsOn, a.Spec.Image = []string{"db"}, "web:2" },
			"DependencyCycle: these apps wait for each other: web → db → web"},
	} {
		t.Run(name, func(t *testing.T) {
			db := web("db", func(a *v1alpha1.App) { a.Spec.DependsOn = []string{"web"} })
			w := newWorld(t, node, web("web"), db)
			w.ticks(3)
			w.change("web", tt.change)
			w.ticks(3)
			expect(t, "Degraded", w.condition("web", v1alpha1.ConditionDegraded), tt.want)
			expect(t, "live", w.app("web").Status.Live, "r1")
			expect(t, "Ready", w.condition("web", v1alpha1.ConditionReady), "Running: 1 of 1 copies")
		})
	}
}

func TestAnAppWaitsForThoseItDependsOn(t *testing.T) {
	w := newWorld(t, web("api", func(a *v1alpha1.App) { a.Spec.DependsOn = []string{"db"} }))
	w.tick()
	expect(t, "copies", w.copies(), "")
	expect(t, "Degraded", w.condition("api", v1alpha1.ConditionDegraded), "DependencyMissing: waits for the app db, which does not exist")
	if err := w.c.Create(context.Background(), web("db")); err != nil {
		t.Fatal(err)
	}
	w.ticks(4)
	expect(t, "copies when it is there", w.copies(), "api-r1=1 db-r1=1")
	w.ticks(400)
	expect(t, "copies when nobody asks", w.copies(), "api-r1=0 db-r1=1")
}
