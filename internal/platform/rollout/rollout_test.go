package rollout

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	gw "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/sampan-cloud/sampan/api/v1alpha1"
	"github.com/sampan-cloud/sampan/internal/platform/rollout/internal/counter"
	"github.com/sampan-cloud/sampan/internal/platform/rollout/internal/object"
)

// world is a cluster without kubelets: its time, its pods and its gateway's
// counters are the test's.
type world struct {
	t       *testing.T
	c       client.Client
	r       *reconciler
	now     time.Time
	counts  map[string]counter.Backend
	down    error // of the gateway
	refuses map[string]string
	events  *events.FakeRecorder
	signals []string
}

// Signal notes a signal instead of sending it.
func (w *world) Signal(_ context.Context, pod types.NamespacedName, _, signal string) error {
	w.signals = append(w.signals, pod.Name+" "+signal)
	return nil
}

func newWorld(t *testing.T, objects ...client.Object) *world {
	t.Helper()
	scheme, err := newScheme()
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), counts: map[string]counter.Backend{}, refuses: map[string]string{}}
	w.events = events.NewFakeRecorder(1000)
	history := counter.NewHistory()
	w.r = &reconciler{
		scheme: scheme, cfg: Config{}.withDefaults(), log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		gateway: object.Gateway{Namespace: "sampan-system", Name: "sampan", Domain: "sampan.local"},
		events:  w.events, history: history, judge: &edgeJudge{history: history}, scalers: newScalers(),
		measured: newMeasured(&rest.Config{}, http.DefaultClient), signaller: w, digests: &digests{}, now: func() time.Time { return w.now },
	}
	w.c = fake.NewClientBuilder().WithScheme(scheme).WithStatusSubresource(&v1alpha1.App{}).
		WithIndex(&v1alpha1.App{}, indexHost, w.r.hosts).WithIndex(&v1alpha1.App{}, indexNeeds, neededApps).
		WithIndex(&corev1.Event{}, indexAbout, func(o client.Object) []string {
			return []string{string(o.(*corev1.Event).InvolvedObject.UID)}
		}).WithObjects(objects...).Build()
	w.r.Client, w.r.direct, w.r.known = w.c, w.c, w.c
	return w
}

// web is an app that answers on a port.
func web(name string, change ...func(*v1alpha1.App)) *v1alpha1.App {
	a := &v1alpha1.App{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "shop", UID: types.UID(name), Generation: 1},
		Spec:       v1alpha1.AppSpec{Kind: v1alpha1.Service, Image: "web:1", Ports: []v1alpha1.Port{{Port: 80, Protocol: v1alpha1.HTTP}}},
	}
	for _, c := range change {
		c(a)
	}
	return a
}

func (w *world) app(name string) *v1alpha1.App {
	w.t.Helper()
	var a v1alpha1.App
	if err := w.c.Get(context.Background(), types.NamespacedName{Namespace: "shop", Name: name}, &a); err != nil {
		w.t.Fatal(err)
	}
	return &a
}

func (w *world) change(name string, change func(*v1alpha1.App)) {
	w.t.Helper()
	a := w.app(name)
	change(a)
	a.Generation++
	if err := w.c.Update(context.Background(), a); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) order(name, command string) {
	w.change(name, func(a *v1alpha1.App) {
		a.Annotations = map[string]string{v1alpha1.AnnotationCommand: command}
	})
}

// tick lets a second pass: the gateway counts, Deployments get their pods, the
// apps are looked at.
func (w *world) tick() {
	w.t.Helper()
	w.now = w.now.Add(time.Second)
	snap := counter.Snapshot{Time: w.now, Backends: map[string]counter.Backend{"other/web": {}}}
	for k, v := range w.counts {
		snap.Backends[k] = v
	}
	w.r.history.Add(snap, w.down)
	w.kubelet()
	var apps v1alpha1.AppList
	if err := w.c.List(context.Background(), &apps); err != nil {
		w.t.Fatal(err)
	}
	for _, a := range apps.Items {
		w.look(a.Name)
	}
}

// look has an app looked at until what was written has been seen.
func (w *world) look(name string) {
	w.t.Helper()
	for range 3 {
		if _, err := w.r.Reconcile(context.Background(), request("shop", name)[0]); err != nil {
			w.t.Fatalf("Reconcile(%s) = %v", name, err)
		}
	}
}

func (w *world) ticks(n int) {
	for range n {
		w.tick()
	}
}

// kubelet makes pods for Deployments: ready ones, but for images that it refuses.
func (w *world) kubelet() {
	ctx := context.Background()
	var ds appsv1.DeploymentList
	var pods corev1.PodList
	if err := w.c.List(ctx, &ds); err != nil {
		w.t.Fatal(err)
	}
	if err := w.c.List(ctx, &pods); err != nil {
		w.t.Fatal(err)
	}
	wanted := map[string]*appsv1.Deployment{}
	for i, d := range ds.Items {
		for n := range *d.Spec.Replicas {
			wanted[fmt.Sprintf("%s-%d", d.Name, n)] = &ds.Items[i]
		}
	}
	for i := range pods.Items {
		if metav1.GetControllerOf(&pods.Items[i]) == nil && wanted[pods.Items[i].Name] == nil {
			if err := w.c.Delete(ctx, &pods.Items[i]); err != nil {
				w.t.Fatal(err)
			}
		}
		delete(wanted, pods.Items[i].Name)
	}
	for name, d := range wanted {
		image := d.Spec.Template.Spec.Containers[0].Image
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: d.Namespace, Labels: d.Spec.Template.Labels}}
		status := corev1.ContainerStatus{Name: object.ContainerName, ImageID: "docker.io/web@sha256:" + strings.Repeat("a", 64)}
		if why := w.refuses[image]; why != "" {
			status = corev1.ContainerStatus{Name: object.ContainerName, State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff", Message: why}}}
		} else {
			p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
		}
		p.Status.ContainerStatuses = []corev1.ContainerStatus{status}
		if err := w.c.Create(ctx, p); err != nil {
			w.t.Fatal(err)
		}
	}
}

// copies is what each Deployment asks for.
func (w *world) copies() string {
	var ds appsv1.DeploymentList
	if err := w.c.List(context.Background(), &ds); err != nil {
		w.t.Fatal(err)
	}
	var out []string
	for _, d := range ds.Items {
		out = append(out, fmt.Sprintf("%s=%d", d.Name, *d.Spec.Replicas))
	}
	return strings.Join(out, " ")
}

// weights is where an app's own route leads.
func (w *world) weights(name string) string {
	var h gw.HTTPRoute
	if err := w.c.Get(context.Background(), types.NamespacedName{Namespace: "shop", Name: name}, &h); err != nil {
		return err.Error()
	}
	var out []string
	for _, b := range h.Spec.Rules[len(h.Spec.Rules)-1].BackendRefs {
		out = append(out, fmt.Sprintf("%s=%d", b.Name, *b.Weight))
	}
	return strings.Join(out, " ")
}

func (w *world) condition(name, typ string) string {
	for _, c := range w.app(name).Status.Conditions {
		if c.Type == typ && c.Status == metav1.ConditionTrue {
			return c.Reason + ": " + c.Message
		}
	}
	return ""
}

// serve counts requests to a revision.
func (w *world) serve(service string, requests, failures int64) {
	b := w.counts["shop/"+service]
	b.Requests += requests
	b.Failures += failures
	w.counts["shop/"+service] = b
}

func image(to string) func(*v1alpha1.App) { return func(a *v1alpha1.App) { a.Spec.Image = to } }

func expect(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s = %q, want %q", what, got, want)
	}
}

func canary(pause string) func(*v1alpha1.App) {
	return func(a *v1alpha1.App) {
		a.Spec.Rollout = &v1alpha1.Rollout{Strategy: v1alpha1.Canary, Steps: []v1alpha1.Step{{Weight: 10, Pause: pause}, {Weight: 50, Pause: pause}}}
	}
}

func TestAnAppGetsCopiesAServiceAndARoute(t *testing.T) {
	w := newWorld(t, web("web"))
	w.ticks(3)
	expect(t, "copies", w.copies(), "web-r1=1")
	expect(t, "weights", w.weights("web"), "web-r1=100")
	expect(t, "url", w.app("web").Status.URL, "http://web.shop.sampan.local")
	expect(t, "Ready", w.condition("web", v1alpha1.ConditionReady), "Running: 1 of 1 copies")
	var s corev1.Service
	if err := w.c.Get(context.Background(), types.NamespacedName{Namespace: "shop", Name: "web"}, &s); err != nil || s.Spec.Selector[v1alpha1.LabelRevision] != "r1" {
		t.Errorf("Service web selects %v, %v; want revision r1", s.Spec.Selector, err)
	}
	before := w.app("web").ResourceVersion
	w.ticks(3)
	if after := w.app("web").ResourceVersion; after != before {
		t.Errorf("an app for which nothing happens was written: version %s, then %s", before, after)
	}
}

func TestAnAppThatNobodyAsksForSleepsAndIsWoken(t *testing.T) {
	w := newWorld(t, web("web"))
	w.ticks(250)
	expect(t, "copies after 4 minutes", w.copies(), "web-r1=1")
	w.ticks(60)
	expect(t, "copies after 5 minutes", w.copies(), "web-r1=0")
	w.tick()
	if got := w.condition("web", v1alpha1.ConditionReady); !strings.HasPrefix(got, "Asleep") {
		t.Errorf("Ready = %q, want Asleep", got)
	}
	w.change("web", func(a *v1alpha1.App) {
		a.Annotations = map[string]string{v1alpha1.AnnotationWake: w.now.Format(time.RFC3339Nano)}
	})
	w.tick()
	expect(t, "copies when woken", w.copies(), "web-r1=1")
}

func TestMoreRequestsBringMoreCopiesAtOnce(t *testing.T) {
	w := newWorld(t, web("web", func(a *v1alpha1.App) {
		most := int32(50)
		a.Spec.Scale = &v1alpha1.Scale{Max: &most}
	}))
	w.ticks(3)
	w.counts["shop/web-r1"] = counter.Backend{InFlight: 900, Held: 100}
	w.tick()
	expect(t, "copies", w.copies(), "web-r1=50")
	w.counts["shop/web-r1"] = counter.Backend{}
	w.ticks(28)
	expect(t, "copies before the stabilisation is over", w.copies(), "web-r1=50")
	w.ticks(4)
	expect(t, "copies after it", w.copies(), "web-r1=1")
}

func TestACanaryGoesThroughItsSteps(t *testing.T) {
	w := newWorld(t, web("web", canary("3s")))
	w.ticks(3)
	w.change("web", image("web:2"))
	seen := map[string]bool{}
	for range 25 {
		w.serve("web-r1", 90, 0)
		w.serve("web-r2", 10, 0)
		w.tick()
		seen[w.weights("web")] = true
		var ready, wanted int32
		st := w.app("web").Status
		if _, err := fmt.Sscanf(st.Copies, "%d/%d", &ready, &wanted); err != nil || ready > wanted {
			t.Errorf("copies = %s (%v) with revisions %+v: those that leave are counted", st.Copies, err, st.Revisions)
		}
	}
	for _, weights := range []string{"web-r1=90 web-r2=10", "web-r1=50 web-r2=50", "web-r1=0 web-r2=100", "web-r2=100"} {
		if !seen[weights] {
			t.Errorf("the route never had weights %s; it had %v", weights, seen)
		}
	}
	expect(t, "copies", w.copies(), "web-r2=1")
	expect(t, "live", w.app("web").Status.Live, "r2")
}

func TestAVersionThatHasAllTheTrafficIsShippedFrom(t *testing.T) {
	w := newWorld(t, web("web", func(a *v1alpha1.App) {
		a.Spec.Rollout = &v1alpha1.Rollout{Strategy: v1alpha1.BlueGreen, Keep: &metav1.Duration{Duration: time.Hour}}
	}))
	w.ticks(3)
	w.change("web", image("web:2"))
	w.ticks(5)
	expect(t, "weights while it is watched", w.weights("web"), "web-r1=0 web-r2=100")
	w.change("web", image("web:3"))
	w.look("web")
	expect(t, "from", w.app("web").Status.Rollout.From, "r2")
	if got := w.weights("web"); strings.Contains(got, "web-r1=100") {
		t.Errorf("weights = %s: what everybody saw is gone", got)
	}
	w.ticks(5)
	w.order("web", "abort#1")
	w.ticks(3)
	expect(t, "live after the third was aborted", w.app("web").Status.Live, "r2")
}

func TestABadCanaryIsTakenBackWithinTenSeconds(t *testing.T) {
	w := newWorld(t, web("web", canary("10m")))
	w.ticks(3)
	w.change("web", image("web:2"))
	for range 20 {
		w.serve("web-r1", 90, 0)
		w.serve("web-r2", 10, 0)
		w.tick()
	}
	expect(t, "weights while it is good", w.weights("web"), "web-r1=90 web-r2=10")
	bad := w.now
	for w.weights("web") == "web-r1=90 web-r2=10" && w.now.Sub(bad) < time.Minute {
		w.serve("web-r1", 90, 0)
		w.serve("web-r2", 10, 2)
		w.tick()
	}
	if took := w.now.Sub(bad); took > 10*time.Second {
		t.Errorf("taken back %s after its first bad second, want at most 10s", took)
	}
	if got := w.condition("web", v1alpha1.ConditionDegraded); !strings.Contains(got, "TakenBack") || !strings.Contains(got, "requests failed within") {
		t.Errorf("Degraded = %q, want the reason", got)
	}
	w.ticks(40)
	expect(t, "copies", w.copies(), "web-r1=1")
	expect(t, "weights", w.weights("web"), "web-r1=100")
	expect(t, "live", w.app("web").Status.Live, "r1")
}

func TestACanaryWhoseImageCannotBePulledGetsNoTraffic(t *testing.T) {
	w := newWorld(t, web("web", canary("1s")))
	w.refuses["web:2"] = "no such image"
	w.ticks(3)
	w.change("web", image("web:2"))
	w.ticks(10)
	expect(t, "weights", w.weights("web"), "web-r1=100 web-r2=0")
	expect(t, "Degraded", w.condition("web", v1alpha1.ConditionDegraded), "ImageNotPulled: ImagePullBackOff: no such image")
	w.change("web", image("web:3"))
	w.ticks(15)
	expect(t, "live after the repair", w.app("web").Status.Live, "r3")
	expect(t, "copies after the repair", w.copies(), "web-r3=1")
}

func TestAJudgeThatCannotBeReachedPausesTheCanary(t *testing.T) {
	w := newWorld(t, web("web", canary("2s")))
	w.ticks(3)
	w.change("web", image("web:2"))
	w.ticks(2)
	w.down = fmt.Errorf("connection refused")
	w.ticks(30)
	expect(t, "weights", w.weights("web"), "web-r1=90 web-r2=10")
	if got := w.condition("web", v1alpha1.ConditionProgressing); !strings.Contains(got, "JudgeUnreachable") || !strings.Contains(got, "connection refused") {
		t.Errorf("Progressing = %q, want that the judge cannot be reached", got)
	}
	w.down = nil
	w.ticks(25)
	expect(t, "live when the judge is back", w.app("web").Status.Live, "r2")
}

func TestRollbackBringsImageAndConfigurationBack(t *testing.T) {
	config := &corev1.ConfigMap{ObjectMeta: watched("settings"), Data: map[string]string{"colour": "green"}}
	w := newWorld(t, config, web("web", func(a *v1alpha1.App) {
		a.Spec.Env = []v1alpha1.EnvVar{{Name: "COLOUR", From: &v1alpha1.EnvSource{ConfigMap: &v1alpha1.KeyRef{Name: "settings", Key: "colour"}}}}
	}))
	w.ticks(3)
	config.Data["colour"] = "red"
	if err := w.c.Update(context.Background(), config); err != nil {
		t.Fatal(err)
	}
	w.ticks(12)
	expect(t, "live after the configuration changed", w.app("web").Status.Live, "r2")
	w.change("web", image("web:3"))
	w.ticks(12)
	expect(t, "live after the image changed", w.app("web").Status.Live, "r3")
	w.order("web", "rollback:1#a")
	w.ticks(12)
	app := w.app("web")
	expect(t, "live after the rollback", app.Status.Live, "r1")
	expect(t, "image in the spec", app.Spec.Image, "web:1")
	var d appsv1.Deployment
	if err := w.c.Get(context.Background(), types.NamespacedName{Namespace: "shop", Name: "web-r1"}, &d); err != nil {
		t.Fatal(err)
	}
	c := d.Spec.Template.Spec.Containers[0]
	expect(t, "image that runs", c.Image, "docker.io/web@sha256:"+strings.Repeat("a", 64))
	var frozen corev1.ConfigMap
	if err := w.c.Get(context.Background(), types.NamespacedName{Namespace: "shop", Name: c.Env[0].ValueFrom.ConfigMapKeyRef.Name}, &frozen); err != nil {
		t.Fatal(err)
	}
	expect(t, "configuration that runs", frozen.Data["colour"], "green")
	w.ticks(5)
	expect(t, "copies", w.copies(), "web-r1=1")
}

func TestTheOlderAppKeepsItsHost(t *testing.T) {
	host := func(age time.Duration) func(*v1alpha1.App) {
		return func(a *v1alpha1.App) {
			a.CreationTimestamp = metav1.NewTime(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(-age))
			a.Spec.Routes = []v1alpha1.Route{{Host: "shop.example.org"}}
		}
	}
	w := newWorld(t, web("young", host(0)), web("old", host(time.Hour)))
	w.ticks(3)
	expect(t, "conflict of the older", w.condition("old", v1alpha1.ConditionRouteConflict), "")
	expect(t, "conflict of the newer", w.condition("young", v1alpha1.ConditionRouteConflict), "HostTaken: shop.example.org/ belongs to the older app shop/old")
	expect(t, "hosts of the newer", strings.Join(w.app("young").Status.Hosts, " "), "young.shop.sampan.local")
	if err := w.c.Delete(context.Background(), w.app("old")); err != nil {
		t.Fatal(err)
	}
	w.ticks(2)
	expect(t, "hosts of the newer, then", strings.Join(w.app("young").Status.Hosts, " "), "young.shop.sampan.local shop.example.org")
}

func (w *world) deployment(name string) *appsv1.Deployment {
	w.t.Helper()
	var d appsv1.Deployment
	w.get(name, &d)
	return &d
}

func (w *world) route(name string) *gw.HTTPRoute {
	w.t.Helper()
	var h gw.HTTPRoute
	w.get(name, &h)
	return &h
}

func TestCountsAreNotWrittenForEveryCopyThatGetsReady(t *testing.T) {
	w := newWorld(t, web("web", func(a *v1alpha1.App) {
		n := int32(4)
		a.Spec.Scale = &v1alpha1.Scale{Replicas: &n}
	}))
	w.look("web")
	template := w.deployment("web-r1").Spec.Template
	w.now = w.now.Add(time.Second)
	w.run("one", template)
	w.look("web")
	expect(t, "copies when the first is ready", w.app("web").Status.Copies, "1/4")
	written := w.app("web").ResourceVersion
	for _, name := range []string{"two", "three", "four"} {
		w.now = w.now.Add(50 * time.Millisecond)
		w.run(name, template)
		w.look("web")
	}
	expect(t, "version while the others follow", w.app("web").ResourceVersion, written)
	w.now = w.now.Add(countsEvery)
	w.look("web")
	expect(t, "copies then", w.app("web").Status.Copies, "4/4")
}

func TestAnAppIsNotReadyBeforeTheGatewayIs(t *testing.T) {
	w := newWorld(t, web("web"), web("work", func(a *v1alpha1.App) { a.Spec.Kind, a.Spec.Ports = v1alpha1.Worker, nil }))
	w.down = fmt.Errorf("connection refused")
	w.ticks(3)
	expect(t, "Ready", w.condition("web", v1alpha1.ConditionReady), "")
	expect(t, "Ready of an app without an address", w.condition("work", v1alpha1.ConditionReady), "Running: 1 of 1 copies")
	w.down = nil
	w.tick()
	expect(t, "Ready with a gateway", w.condition("web", v1alpha1.ConditionReady), "Running: 1 of 1 copies")
	w.down = fmt.Errorf("connection refused")
	w.ticks(3)
	expect(t, "Ready when the gateway is away for a moment", w.condition("web", v1alpha1.ConditionReady), "Running: 1 of 1 copies")
}
