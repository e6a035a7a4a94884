package object

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sampan-cloud/sampan/api/v1alpha1"
)

var gateway = Gateway{Namespace: "sampan-system", Name: "sampan", Domain: "sampan.local"}

func shop(change ...func(*v1alpha1.AppSpec)) *v1alpha1.App {
	a := &v1alpha1.App{ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "shop", UID: "1"},
		Spec: v1alpha1.AppSpec{Kind: v1alpha1.Service, Image: "web:1", Ports: []v1alpha1.Port{{Port: 80, Protocol: v1alpha1.HTTP}}}}
	for _, c := range change {
		c(&a.Spec)
	}
	return a
}

func revisionOf(a *v1alpha1.App) Revision {
	return Revision{Number: 1, Name: "r1", Spec: Content(&a.Spec)}
}

func podOf(t *testing.T, a *v1alpha1.App) (corev1.PodSpec, corev1.Container) {
	t.Helper()
	p, err := Pod(a, revisionOf(a), Addresses{"db": {{Name: "sql", Port: 5432, Protocol: v1alpha1.TCP}, {Port: 8080}}})
	if err != nil {
		t.Fatalf("Pod = %v", err)
	}
	return p.Spec, p.Spec.Containers[0]
}

func TestPodStopsAfterItsEndpointsHaveLeft(t *testing.T) {
	spec, c := podOf(t, shop(func(s *v1alpha1.AppSpec) { s.StopTimeout = &metav1.Duration{Duration: 10 * time.Second} }))
	if c.Lifecycle == nil || c.Lifecycle.PreStop.Sleep.Seconds != 3 || *spec.TerminationGracePeriodSeconds != 13 {
		t.Errorf("lifecycle = %+v, grace %d; want a pause of 3 s that is not taken from the app's own 10", c.Lifecycle, *spec.TerminationGracePeriodSeconds)
	}
	if *spec.AutomountServiceAccountToken {
		t.Error("the pod gets a token that it did not ask for")
	}
}

func TestReadiness(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*v1alpha1.AppSpec)
		want   string
	}{
		"a port that takes connections, when nothing is said": {func(*v1alpha1.AppSpec) {}, "tcp 80"},
		"what is asked for": {func(s *v1alpha1.AppSpec) {
			s.Health.Readiness = &v1alpha1.Check{HTTP: &v1alpha1.HTTPCheck{Path: "/ok", Port: 81}}
		}, "http 81/ok"},
		"nothing for a port that has no connections": {func(s *v1alpha1.AppSpec) { s.Ports = []v1alpha1.Port{{Port: 53, Protocol: v1alpha1.UDP}} }, "none"},
		"nothing for a worker":                       {func(s *v1alpha1.AppSpec) { s.Kind, s.Ports = v1alpha1.Worker, nil }, "none"},
	} {
		t.Run(name, func(t *testing.T) {
			_, c := podOf(t, shop(tt.change))
			got := "none"
			switch p := c.ReadinessProbe; {
			case p == nil:
			case p.TCPSocket != nil:
				got = "tcp " + p.TCPSocket.Port.String()
			case p.HTTPGet != nil:
				got = "http " + p.HTTPGet.Port.String() + p.HTTPGet.Path
			}
			if got != tt.want {
				t.Errorf("readiness = %s, want %s", got, tt.want)
			}
		})
	}
}

func TestEnvironment(t *testing.T) {
	from := func(s v1alpha1.EnvSource) func(*v1alpha1.AppSpec) {
		return func(a *v1alpha1.AppSpec) { a.Env = []v1alpha1.EnvVar{{Name: "X", From: &s}} }
	}
	for name, tt := range map[string]struct {
		change func(*v1alpha1.AppSpec)
		want   string
	}{
		"a value":               {func(a *v1alpha1.AppSpec) { a.Env = []v1alpha1.EnvVar{{Name: "X", Value: "1"}} }, "1"},
		"another app's URL":     {from(v1alpha1.EnvSource{App: &v1alpha1.AppRef{Name: "db", Port: "8080", Property: "url"}}), "http://db.shop:8080"},
		"one that is not HTTP":  {from(v1alpha1.EnvSource{App: &v1alpha1.AppRef{Name: "db", Port: "sql"}}), "tcp://db.shop:5432"},
		"another app's address": {from(v1alpha1.EnvSource{App: &v1alpha1.AppRef{Name: "db", Property: "address"}}), "db.shop:5432"},
		"a Secret's key comes from the revision's own copy": {from(v1alpha1.EnvSource{Secret: &v1alpha1.KeyRef{Name: "pw", Key: "k"}}), "secret web-r1-pw/k"},
	} {
		t.Run(name, func(t *testing.T) {
			_, c := podOf(t, shop(tt.change))
			got := c.Env[0].Value
			if v := c.Env[0].ValueFrom; v != nil {
				got = "secret " + v.SecretKeyRef.Name + "/" + v.SecretKeyRef.Key
			}
			if got != tt.want {
				t.Errorf("X = %s, want %s", got, tt.want)
			}
		})
	}
	missing := shop(from(v1alpha1.EnvSource{App: &v1alpha1.AppRef{Name: "none"}}))
	if _, err := Pod(missing, revisionOf(missing), nil); err == nil || err.Error() != "env X: there is no app none" {
		t.Errorf("Pod = %v, want that there is no app none", err)
	}
}

func TestFilesAreReplacedInPlaceOnlyWhenAsked(t *testing.T) {
	text := "a"
	spec := func(how string) func(*v1alpha1.AppSpec) {
		return func(s *v1alpha1.AppSpec) {
			s.Reload.How = how
			s.Files = []v1alpha1.File{{Path: "/etc/app/a.conf", Content: &text}, {Path: "/etc/app/b.conf", ConfigMap: &v1alpha1.KeyRef{Name: "b", Key: "k"}}}
		}
	}
	frozen := shop(spec("restart"))
	p, c := podOf(t, frozen)
	if len(c.VolumeMounts) != 2 || c.VolumeMounts[0].SubPath != "a.conf" || p.Volumes[0].Projected.Sources[1].ConfigMap.Name != "web-r1-b" {
		t.Errorf("restart: mounts %+v of %+v, want single files of the revision's own", c.VolumeMounts, p.Volumes)
	}
	live := shop(spec("file"))
	p, c = podOf(t, live)
	if len(c.VolumeMounts) != 1 || c.VolumeMounts[0].MountPath != "/etc/app" || p.Volumes[0].Projected.Sources[1].ConfigMap.Name != "b" {
		t.Errorf("file: mounts %+v of %+v, want the directory, of what everybody sees", c.VolumeMounts, p.Volumes)
	}
	for how, want := range map[string]bool{"restart": true, "file": false, "signal": false} {
		a, b := shop(spec(how)), shop(spec(how))
		other := "b"
		b.Spec.Files[0].Content = &other
		if got := Hash(a, nil) != Hash(b, nil); got != want {
			t.Errorf("%s: other content makes another revision: %v, want %v", how, got, want)
		}
	}
}

func TestWhatMakesARevision(t *testing.T) {
	most := int32(9)
	for name, tt := range map[string]struct {
		change func(*v1alpha1.AppSpec)
		want   bool
	}{
		"an image":     {func(s *v1alpha1.AppSpec) { s.Image = "web:2" }, true},
		"a variable":   {func(s *v1alpha1.AppSpec) { s.Env = []v1alpha1.EnvVar{{Name: "A", Value: "b"}} }, true},
		"scale":        {func(s *v1alpha1.AppSpec) { s.Scale = &v1alpha1.Scale{Max: &most} }, false},
		"a route":      {func(s *v1alpha1.AppSpec) { s.Routes = []v1alpha1.Route{{Host: "a.b"}} }, false},
		"rollout":      {func(s *v1alpha1.AppSpec) { s.Rollout = &v1alpha1.Rollout{Strategy: v1alpha1.Canary} }, false},
		"dependencies": {func(s *v1alpha1.AppSpec) { s.DependsOn = []string{"db"} }, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Hash(shop(), nil) != Hash(shop(tt.change), nil); got != tt.want {
				t.Errorf("another revision: %v, want %v", got, tt.want)
			}
		})
	}
	if Hash(shop(), map[string]string{"configmap/a": "1"}) == Hash(shop(), map[string]string{"configmap/a": "2"}) {
		t.Error("other configuration is the same revision")
	}
}

func TestRoutes(t *testing.T) {
	both := Traffic{Shares: []Share{{"r1", 90}, {"r2", 10}}}
	cookie := Traffic{Shares: both.Shares, Match: &v1alpha1.RolloutMatch{Cookie: &v1alpha1.NameValue{Name: "beta", Value: "1"}}, Matched: "r2"}
	for name, tt := range map[string]struct {
		change  func(*v1alpha1.AppSpec)
		traffic Traffic
		want    []string
	}{
		"the name that every app gets": {func(*v1alpha1.AppSpec) {}, both, []string{"web.shop.sampan.local / web-r1:80=90 web-r2:80=10"}},
		"hosts and paths": {func(s *v1alpha1.AppSpec) {
			s.Routes = []v1alpha1.Route{{Host: "a.org"}, {Host: "a.org", Path: "/x", Exact: true}}
		}, both, []string{"a.org / web-r1:80=90 web-r2:80=10", "a.org =/x web-r1:80=90 web-r2:80=10", "web.shop.sampan.local / web-r1:80=90 web-r2:80=10"}},
		"those who match come first": {func(*v1alpha1.AppSpec) {}, cookie, []string{
			`web.shop.sampan.local / Cookie~^(.*;\s*)?beta=1(\s*;.*)?$ web-r2:80=100`, "web.shop.sampan.local / web-r1:80=90 web-r2:80=10"}},
		"a host that an older app has is left out": {func(s *v1alpha1.AppSpec) { s.Routes = []v1alpha1.Route{{Host: "taken.org"}} }, both,
			[]string{"web.shop.sampan.local / web-r1:80=90 web-r2:80=10"}},
		"a worker has none": {func(s *v1alpha1.AppSpec) { s.Kind = v1alpha1.Worker }, both, nil},
	} {
		t.Run(name, func(t *testing.T) {
			routes, err := Routes(shop(tt.change), gateway, tt.traffic, func(c Claim) bool { return c.Host == "taken.org" })
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, r := range routes {
				for _, rule := range r.Spec.Rules {
					m := rule.Matches[0]
					line := string(r.Spec.Hostnames[0]) + " "
					if *m.Path.Type == "Exact" {
						line += "="
					}
					line += *m.Path.Value
					for _, h := range m.Headers {
						line += " " + string(h.Name) + "~" + h.Value
					}
					for _, b := range rule.BackendRefs {
						weight, _ := json.Marshal(b.Weight)
						port, _ := json.Marshal(b.Port)
						line += " " + string(b.Name) + ":" + string(port) + "=" + string(weight)
					}
					got = append(got, line)
				}
			}
			slices.Sort(got)
			slices.Sort(tt.want)
			if !slices.Equal(got, tt.want) {
				t.Errorf("Routes =\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
			}
		})
	}
}

func TestRoutesTakeWhatTheirAppAsksOfTheGateway(t *testing.T) {
	a := shop()
	a.Annotations = map[string]string{"gateway.sampan.dev/oidc": "login", "gateway.sampan.dev/sticky": "client", "example.com/note": "mine"}
	for sticky, want := range map[bool]string{false: "client", true: "cookie:sampan-web"} {
		routes, err := Routes(a, gateway, Traffic{Shares: []Share{{"", 1}}, Sticky: sticky}, func(Claim) bool { return false })
		if err != nil {
			t.Fatal(err)
		}
		got := routes[0].Annotations
		if got["gateway.sampan.dev/oidc"] != "login" || got["gateway.sampan.dev/sticky"] != want || got["example.com/note"] != "" {
			t.Errorf("with a sticky rollout %v the route says %v; want the app's words for the gateway alone", sticky, got)
		}
	}
}

func TestNamesOfRevisionsNeverMeetThoseOfApps(t *testing.T) {
	a := shop()
	if got := Name(a, RevisionName(3)); got != "web-r3" {
		t.Errorf("Name = %s, want web-r3", got)
	}
	size := resource.MustParse("1Gi")
	s := StatefulSet(shop(func(s *v1alpha1.AppSpec) { s.Volumes = []v1alpha1.Volume{{Name: "d", Path: "/d", Size: &size}} }), Revision{Name: "r1", Spec: v1alpha1.AppSpec{
		Volumes: []v1alpha1.Volume{{Name: "d", Path: "/d", Size: &size}}}}, corev1.PodTemplateSpec{}, 5, 2)
	if len(s.Spec.VolumeClaimTemplates) != 1 || s.Spec.ServiceName != "web-peers" {
		t.Errorf("StatefulSet has %d claims and service %s, want 1 and web-peers", len(s.Spec.VolumeClaimTemplates), s.Spec.ServiceName)
	}
	if stay := *s.Spec.UpdateStrategy.RollingUpdate.Partition; stay != 3 {
		t.Errorf("%d of 5 copies stay as they are when 2 may be new", stay)
	}
}

func TestConfigurationOfItsOwnWins(t *testing.T) {
	text, own := "a", map[string]Key{"MODE": {Plain: true}, "TOKEN": {}, "conf": {Path: "/etc/web.conf", Plain: true}}
	app := shop(func(s *v1alpha1.AppSpec) {
		s.Env = []v1alpha1.EnvVar{{Name: "FIRST", Value: "$(TOKEN)"}, {Name: "MODE", Value: "default"}}
		s.Files = []v1alpha1.File{{Path: "/etc/web.conf", Content: &text}, {Path: "/etc/other", Content: &text}}
	})
	spec := Configured(app, app.Spec, own)
	var env, files []string
	for _, e := range spec.Env {
		value := e.Value
		if e.From != nil {
			value = e.From.Secret.Name + "/" + e.From.Secret.Key
		}
		env = append(env, e.Name+"="+value)
	}
	for _, f := range spec.Files {
		from := "content"
		if f.Secret != nil {
			from = f.Secret.Name + "/" + f.Secret.Key
		}
		files = append(files, f.Path+"="+from)
	}
	if got, want := strings.Join(env, " "), "TOKEN=web-config/TOKEN FIRST=$(TOKEN) MODE=web-config/MODE"; got != want {
		t.Errorf("env = %s, want %s", got, want)
	}
	if got, want := strings.Join(files, " "), "/etc/other=content /etc/web.conf=web-config/conf"; got != want {
		t.Errorf("files = %s, want %s", got, want)
	}
	if len(app.Spec.Env) != 2 || len(app.Spec.Files) != 2 || app.Spec.Env[1].From != nil {
		t.Errorf("the app itself was changed: %+v", app.Spec)
	}
}

func TestACauseIsShownWithoutItsMark(t *testing.T) {
	for note, want := range map[string]string{
		"the sale #abcdefgh": "the sale", "#abcdefgh": "", "fixes #12": "fixes #12", "": "", " spaced ": "spaced",
	} {
		if got := CauseOf(note); got != want {
			t.Errorf("CauseOf(%q) = %q, want %q", note, got, want)
		}
	}
}
