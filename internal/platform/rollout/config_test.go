package rollout

import (
	"context"
	"fmt"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sampan-cloud/sampan/api/v1alpha1"
	"github.com/sampan-cloud/sampan/internal/base/fault"
	"github.com/sampan-cloud/sampan/internal/platform/rollout/internal/object"
)

// watched is the metadata of something of whose changes a history is kept.
func watched(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Name: name, Namespace: "shop", Labels: map[string]string{v1alpha1.LabelConfig: ""}}
}

// configure makes the app's own configuration what the values say. A name with
// a leading - is secret, one with a / in it a file.
func (w *world) configure(name, by, cause string, values map[string]string) {
	w.t.Helper()
	data, keys := map[string][]byte{}, map[string]object.Key{}
	for k, v := range values {
		k, secret := strings.CutPrefix(k, "-")
		key := object.Key{Plain: !secret}
		if strings.Contains(k, "/") {
			k, key.Path = strings.ReplaceAll(k[1:], "/", "."), k
		}
		data[k], keys[k] = []byte(v), key
	}
	s, err := object.OwnSecret(w.app(name), data, keys)
	if err != nil {
		w.t.Fatal(err)
	}
	s.Annotations[v1alpha1.AnnotationChangedBy], s.Annotations[v1alpha1.AnnotationCause] = by, cause
	var old corev1.Secret
	err = w.c.Get(context.Background(), client.ObjectKeyFromObject(s), &old)
	switch {
	case apierrors.IsNotFound(err):
		err = w.c.Create(context.Background(), s)
	case err == nil:
		s.ResourceVersion = old.ResourceVersion
		err = w.c.Update(context.Background(), s)
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// versions tells an app's versions in a line each, the oldest first.
func (w *world) versions(name string) string {
	w.t.Helper()
	var list appsv1.ControllerRevisionList
	if err := w.c.List(context.Background(), &list, client.MatchingLabels{v1alpha1.LabelApp: name}, client.HasLabels{v1alpha1.LabelConfigVersion}); err != nil {
		w.t.Fatal(err)
	}
	lines := make([]string, len(list.Items))
	for i := range list.Items {
		v, err := object.ReadVersion(&list.Items[i])
		if err != nil {
			w.t.Fatal(err)
		}
		line := fmt.Sprintf("v%d %s:", v.Number, v.By)
		for _, s := range v.Sources {
			for _, value := range s.Values {
				text := value.Text
				if !value.Whole {
					text = "?"
				}
				line += fmt.Sprintf(" %s=%s", value.Key, text)
			}
		}
		if v.Cause != "" {
			line += " (" + v.Cause + ")"
		}
		lines[(v.Number-1)%int64(len(lines))] = line
	}
	return strings.Join(lines, "\n")
}

// env is the environment of a revision's copies, with secrets looked up.
func (w *world) env(deployment string) string {
	w.t.Helper()
	var out []string
	for _, e := range w.deployment(deployment).Spec.Template.Spec.Containers[0].Env {
		value := e.Value
		if e.ValueFrom != nil {
			var s corev1.Secret
			w.get(e.ValueFrom.SecretKeyRef.Name, &s)
			value = string(s.Data[e.ValueFrom.SecretKeyRef.Key])
		}
		out = append(out, e.Name+"="+value)
	}
	return strings.Join(out, " ")
}

func TestAChangeOfTheConfigurationIsAVersionAndARevision(t *testing.T) {
	t.Parallel()
	w := newWorld(t, web("web", func(a *v1alpha1.App) {
		a.Spec.Env = []v1alpha1.EnvVar{{Name: "MODE", Value: "default"}, {Name: "OTHER", Value: "1"}}
	}))
	w.ticks(3)
	expect(t, "versions without any configuration", w.versions("web"), "")
	w.configure("web", "alice", "faster #abcdefgh", map[string]string{"MODE": "fast", "-TOKEN": "s3cret"})
	w.ticks(12)
	expect(t, "live", w.app("web").Status.Live, "r2")
	expect(t, "environment", w.env("web-r2"), "TOKEN=s3cret MODE=fast OTHER=1")
	w.configure("web", "bob", "faster #abcdefgh", map[string]string{"MODE": "slow", "-TOKEN": "s3cret", "/etc/web/web.conf": "a"})
	w.ticks(12)
	expect(t, "versions", w.versions("web"), "v1 alice: MODE=fast TOKEN=? (faster)\nv2 bob: MODE=slow TOKEN=? etc.web.web.conf=a")
	d := w.deployment("web-r3")
	if m := d.Spec.Template.Spec.Containers[0].VolumeMounts; len(m) != 1 || m[0].MountPath != "/etc/web/web.conf" {
		t.Errorf("mounts = %+v, want the file", m)
	}
	w.change("web", image("web:2"))
	w.ticks(12)
	expect(t, "versions after another image", fmt.Sprint(strings.Count(w.versions("web"), "\n")+1), "2")
	expect(t, "environment of the next image", w.env("web-r4"), "TOKEN=s3cret MODE=slow OTHER=1")
}

func TestNoSecretIsInTheHistory(t *testing.T) {
	t.Parallel()
	w := newWorld(t, web("web"))
	w.tick()
	w.configure("web", "alice", "", map[string]string{"-TOKEN": "s3cret", "-/etc/pw": "s3cret"})
	w.ticks(3)
	var list appsv1.ControllerRevisionList
	if err := w.c.List(context.Background(), &list); err != nil {
		t.Fatal(err)
	}
	for _, c := range list.Items {
		plain := object.Digester(nil).Of([]byte("s3cret"))
		if text := string(c.Data.Raw); strings.Contains(text, "s3cret") || strings.Contains(text, "czNjcmV0") || strings.Contains(text, plain) {
			t.Errorf("%s tells the secret: %s", c.Name, text)
		}
	}
}

func TestWhatOthersChangeIsAVersionToo(t *testing.T) {
	t.Parallel()
	settings := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "settings", Namespace: "shop"}, Data: map[string]string{"colour": "green"}}
	w := newWorld(t, settings, web("web", func(a *v1alpha1.App) {
		a.Annotations = map[string]string{v1alpha1.AnnotationChangedBy: "alice"}
		a.Spec.EnvFrom = []v1alpha1.EnvFrom{{ConfigMap: "settings"}}
	}))
	w.ticks(2)
	w.get("settings", settings)
	if _, ok := settings.Labels[v1alpha1.LabelConfig]; !ok {
		t.Error("the API server is not told to write down who changes it")
	}
	settings.Data["colour"] = "red"
	settings.Annotations = map[string]string{v1alpha1.AnnotationChangedBy: "bob", v1alpha1.AnnotationCause: "wanted"}
	if err := w.c.Update(context.Background(), settings); err != nil {
		t.Fatal(err)
	}
	w.ticks(2)
	// Without the label nobody has checked who it was.
	settings.Labels, settings.Data["colour"] = nil, "blue"
	settings.Annotations[v1alpha1.AnnotationChangedBy] = "mallory"
	if err := w.c.Update(context.Background(), settings); err != nil {
		t.Fatal(err)
	}
	w.ticks(2)
	if err := w.c.Delete(context.Background(), settings); err != nil {
		t.Fatal(err)
	}
	w.ticks(2)
	expect(t, "versions", w.versions("web"), "v1 alice: colour=green\nv2 bob: colour=red (wanted)\nv3 : colour=blue\nv4 :")
	expect(t, "Degraded", w.condition("web", v1alpha1.ConditionDegraded), "ConfigMissing: there is no configmap/settings")
}

func TestASecretThatOnlyHasTheNameIsNotTheConfiguration(t *testing.T) {
	t.Parallel()
	other := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "web-config", Namespace: "shop"}, Data: map[string][]byte{"A": []byte("b")}}
	w := newWorld(t, other, web("web"))
	w.ticks(3)
	expect(t, "environment", w.env("web-r1"), "")
	expect(t, "versions", w.versions("web"), "")
}

func TestVersionsAreKeptInANumberThatIsBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t, web("web"))
	w.tick()
	for i := range keptVersions + 5 {
		w.configure("web", "alice", "", map[string]string{"N": fmt.Sprint(i)})
		w.look("web")
	}
	if n := strings.Count(w.versions("web"), "\n") + 1; n != keptVersions {
		t.Errorf("%d versions are kept, want %d", n, keptVersions)
	}
	var copies corev1.SecretList
	if err := w.c.List(context.Background(), &copies, client.HasLabels{v1alpha1.LabelConfigCopy}); err != nil || len(copies.Items) != keptVersions {
		t.Errorf("%d copies are kept, %v, want %d", len(copies.Items), err, keptVersions)
	}
}

func TestARollbackOfTheAppBringsItsConfigurationBackAsANewVersion(t *testing.T) {
	t.Parallel()
	w := newWorld(t, web("web"))
	w.ticks(3)
	w.configure("web", "alice", "", map[string]string{"MODE": "fast", "LIMIT": "1"})
	w.ticks(12)
	w.configure("web", "bob", "", map[string]string{"MODE": "fast"})
	w.ticks(12)
	w.change("web", func(a *v1alpha1.App) {
		a.Annotations = map[string]string{v1alpha1.AnnotationCommand: "rollback:2#x", v1alpha1.AnnotationChangedBy: "carol"}
	})
	w.ticks(12)
	expect(t, "live", w.app("web").Status.Live, "r2")
	expect(t, "environment", w.env("web-r2"), "LIMIT=1 MODE=fast")
	expect(t, "versions", w.versions("web"), "v1 alice: LIMIT=1 MODE=fast\nv2 bob: MODE=fast\nv3 carol: LIMIT=1 MODE=fast (app rollback to r2)")
	if w.app("web").Status.Pinned != nil {
		t.Error("the revision is pinned although its configuration is that of the app again")
	}
	w.order("web", "rollback:1#y")
	w.ticks(12)
	expect(t, "environment of the first revision", w.env("web-r1"), "")
}

func TestFilesOfTheConfigurationChangeInPlace(t *testing.T) {
	t.Parallel()
	w := newWorld(t, web("web", func(a *v1alpha1.App) { a.Spec.Reload = v1alpha1.Reload{How: "signal", Signal: "USR1"} }))
	w.ticks(2)
	w.configure("web", "alice", "", map[string]string{"/etc/web/web.conf": "1", "MODE": "fast"})
	w.ticks(12)
	expect(t, "live", w.app("web").Status.Live, "r2")
	source := w.deployment("web-r2").Spec.Template.Spec.Volumes[0].Projected.Sources[0].Secret
	expect(t, "what is mounted", source.Name, "web-config")
	w.configure("web", "alice", "", map[string]string{"/etc/web/web.conf": "2", "MODE": "fast"})
	w.tick()
	expect(t, "version in force before all copies know", fmt.Sprint(w.app("web").Status.LiveConfig), "1")
	w.ticks(6)
	expect(t, "live after the file has changed", w.app("web").Status.Live, "r2")
	expect(t, "signals", strings.Join(w.signals, ","), "web-r2-0 USR1")
	expect(t, "versions", fmt.Sprint(strings.Count(w.versions("web"), "\n")+1), "2")
	expect(t, "version in force", fmt.Sprint(w.app("web").Status.LiveConfig), "2")
	w.configure("web", "alice", "", map[string]string{"/etc/web/web.conf": "2", "MODE": "slow"})
	w.ticks(12)
	expect(t, "live after a variable has changed", w.app("web").Status.Live, "r3")
	var frozen corev1.Secret
	if err := w.c.Get(context.Background(), types.NamespacedName{Namespace: "shop", Name: "web-r3-web-config"}, &frozen); err != nil {
		t.Fatal(err)
	}
}

// deaf is a Signaller that knows no copy.
type deaf struct{ err error }

func (d deaf) Signal(context.Context, types.NamespacedName, string, string) error { return d.err }

func TestASignalGoesByTheNearestWay(t *testing.T) {
	for name, tt := range map[string]struct {
		near error
		want int
	}{
		"the node's own, where the copy is there":  {nil, 0},
		"through the API, where it is not":         {fmt.Errorf("pod: %w", fault.NotFound), 1},
		"not twice, when the copy cannot be asked": {fault.Precondition, 0},
	} {
		t.Run(name, func(t *testing.T) {
			far := &world{}
			s := nearSignaller{near: deaf{tt.near}, far: far}
			err := s.Signal(t.Context(), types.NamespacedName{Name: "web"}, "app", "HUP")
			if len(far.signals) != tt.want || (err != nil) != (tt.near != nil && tt.want == 0) {
				t.Errorf("Signal = %v, %d signals through the API, want %d", err, len(far.signals), tt.want)
			}
		})
	}
}

func TestConfigurationOfAVersionThatWasTakenBackIsNotInForce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, web("web", canary("1h")))
	w.ticks(3)
	w.configure("web", "alice", "", map[string]string{"MODE": "fast"})
	w.ticks(4)
	expect(t, "versions while the canary runs", fmt.Sprint(w.app("web").Status.Config, w.app("web").Status.LiveConfig), "1 0")
	expect(t, "what the old copies have", w.env("web-r1"), "")
	w.order("web", "promote#1")
	w.ticks(12)
	w.configure("web", "alice", "", map[string]string{"MODE": "broken"})
	w.ticks(4)
	w.order("web", "abort#2")
	w.ticks(4)
	expect(t, "versions after the abort", fmt.Sprint(w.app("web").Status.Config, w.app("web").Status.LiveConfig), "2 1")
}

func TestConfigurationThatCannotBeReadShipsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, web("web"))
	w.ticks(3)
	w.configure("web", "alice", "", map[string]string{"MODE": "fast"})
	w.ticks(12)
	var own corev1.Secret
	w.get("web-config", &own)
	own.Annotations[v1alpha1.AnnotationConfigKeys] = "{"
	if err := w.c.Update(context.Background(), &own); err != nil {
		t.Fatal(err)
	}
	w.ticks(3)
	expect(t, "live", w.app("web").Status.Live, "r2")
	expect(t, "copies", w.copies(), "web-r2=1")
	if got := w.condition("web", v1alpha1.ConditionDegraded); !strings.HasPrefix(got, "Invalid: secret web-config: annotation") {
		t.Errorf("Degraded = %q, want why", got)
	}
}
