package cli

import (
	"strings"
	"testing"
	"time"

	"github.com/sampan-cloud/sampan/api/client"
)

const shop = "/apis/apps.sampan.dev/v1alpha1/namespaces/shop/apps"

func ago(d time.Duration) string { return time.Now().Add(-d).UTC().Format(time.RFC3339) }

// canary is an app in the middle of a rollout.
func canary() object {
	return object{
		"apiVersion": "apps.sampan.dev/v1alpha1", "kind": "App",
		"metadata": object{"name": "web", "namespace": "shop", "generation": 4, "creationTimestamp": ago(3 * time.Hour)},
		"spec":     object{"kind": "service", "image": "registry.local/shop/web:4", "rollout": object{"strategy": "canary"}},
		"status": object{
			"observedGeneration": 4, "url": "http://web.shop.sampan.local", "hosts": []string{"web.shop.sampan.local", "shop.example.org"},
			"live": "r3", "proven": true, "copies": "4/5", "replicas": 5, "ready": 4, "scaleReason": "inFlight asks for 5",
			"revisions": []object{
				{"name": "r4", "image": "registry.local/shop/web:4", "weight": 10, "replicas": 2, "ready": 1, "role": "new"},
				{"name": "r3", "image": "registry.local/shop/web@sha256:0123456789abcdef", "weight": 90, "replicas": 3, "ready": 3, "role": "live"},
			},
			"rollout": object{"revision": "r4", "from": "r3", "phase": "Watching", "step": 0, "weight": 10, "since": ago(5*time.Minute + 10*time.Second),
				"began": ago(time.Minute), "paused": "step", "message": "waits at 10 % for promote or resume", "summary": "r4 10 %"},
			"conditions": []object{{"type": "Ready", "status": "True", "reason": "Running"}},
		},
	}
}

// broken is an app whose image cannot be had.
func broken() object {
	return object{
		"metadata": object{"name": "cart", "namespace": "shop", "generation": 1, "creationTimestamp": ago(5 * time.Minute)},
		"spec":     object{"kind": "worker", "image": "registry.local/shop/cart:9"},
		"status": object{
			"observedGeneration": 1, "copies": "0/1", "replicas": 1,
			"revisions": []object{{"name": "r1", "image": "registry.local/shop/cart:9", "weight": 100, "replicas": 1, "ready": 0, "role": "new"}},
			"rollout":   object{"revision": "r1", "phase": "Starting", "weight": 0, "since": ago(5 * time.Minute), "began": ago(5 * time.Minute), "summary": "starting r1"},
			"conditions": []object{
				{"type": "Ready", "status": "False", "reason": "Starting", "message": "0 of 1 copies ready"},
				{"type": "Degraded", "status": "True", "reason": "ImageNotPulled", "message": "registry.local/shop/cart:9: not found"},
			},
		},
	}
}

func TestWhatAppsLookLike(t *testing.T) {
	for _, lang := range []string{"en", "zh"} {
		for name, args := range map[string]string{
			"list": "app list", "list-all": "app list -A", "show": "app show web", "show-broken": "app show cart",
			"history": "app history web", "services": "service list",
		} {
			api := &fakeAPI{objects: map[string]any{
				shop:                                  object{"items": []any{canary(), broken()}},
				"/apis/apps.sampan.dev/v1alpha1/apps": object{"items": []any{canary(), broken()}},
				shop + "/web":                         canary(),
				shop + "/cart":                        broken(),
				"/apis/apps/v1/namespaces/shop/controllerrevisions": object{"items": []object{
					keptRevision(2, "registry.local/shop/web:2", "", ""),
					keptRevision(4, "registry.local/shop/web:4", "", "try the new basket"),
					keptRevision(3, "registry.local/shop/web:3", "registry.local/shop/web@sha256:0123456789abcdef", ""),
				}},
				"/api/v1/namespaces/shop/services":                         object{"items": []object{aService(), outside()}},
				"/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices": object{"items": []object{aSlice()}},
			}}
			code, out, errOut := typed(t, api, lang, "", strings.Fields(args)...)
			if code != 0 {
				t.Errorf("%s: exit code %d: %s", args, code, errOut)
			}
			golden(t, name+"."+lang+".txt", out)
		}
	}
}

func keptRevision(n int, image, digest, cause string) object {
	m := object{"name": "web-r", "namespace": "shop", "creationTimestamp": ago(time.Duration(10-n) * time.Hour),
		"annotations": object{"kubernetes.io/change-cause": cause, "apps.sampan.dev/image": digest}}
	return object{"metadata": m, "revision": n, "data": object{"Name": "r" + string(rune('0'+n)), "Spec": object{"image": image}}}
}

func aService() object {
	return object{
		"metadata": object{"name": "web", "namespace": "shop", "labels": object{"apps.sampan.dev/app": "web"}},
		"spec":     object{"clusterIP": "10.43.0.7", "ports": []object{{"port": 80}, {"port": 9090}}},
	}
}

func outside() object {
	return object{
		"metadata": object{"name": "db", "namespace": "shop", "labels": object{"app.kubernetes.io/managed-by": "catalog.sampan.dev"}},
		"spec":     object{"clusterIP": "10.43.0.9", "ports": []object{{"port": 5432}}},
	}
}

func aSlice() object {
	no := false
	return object{
		"metadata": object{"name": "web-x", "namespace": "shop", "labels": object{"kubernetes.io/service-name": "web"}},
		"endpoints": []object{
			{"addresses": []string{"10.42.0.5"}, "conditions": object{"ready": true}},
			{"addresses": []string{"10.42.0.6"}, "conditions": object{"ready": no}},
		},
	}
}

func TestAnAppIsPrintedAsItIs(t *testing.T) {
	api := &fakeAPI{objects: map[string]any{shop + "/web": canary()}}
	code, out, _ := typed(t, api, "en", "", "app", "show", "web", "-o", "yaml")
	if code != 0 || !strings.Contains(out, "scaleReason: inFlight asks for 5\n") {
		t.Errorf("app show -o yaml: exit code %d, %s", code, out)
	}
}

func TestRevisionsOfAnAppsStatefulSetAreNotItsOwn(t *testing.T) {
	var own, foreign client.KeptRevision
	own.Data.Name, own.Revision, foreign.Revision = "r1", 1, 2
	if got := history([]client.KeptRevision{own, foreign}, "r1"); len(got) != 1 || got[0].Revision != "r1" {
		t.Errorf("history = %+v, want r1 alone", got)
	}
}

func TestAMissingAppIsNamed(t *testing.T) {
	for _, args := range []string{"app show web", "app logs web", "app history web", "app delete web"} {
		code, _, errOut := typed(t, &fakeAPI{}, "en", "", strings.Fields(args)...)
		if code != 1 || !strings.Contains(errOut, `no app "web"`) {
			t.Errorf("sampan %s: exit code %d, %s", args, code, errOut)
		}
	}
}

// obeying answers a command as the controller does, in a watch.
func obeying(done bool, message string) *fakeAPI {
	api := &fakeAPI{watches: map[string][]any{}}
	api.answer = func(_ string, body object) (any, int, bool) {
		command := body["metadata"].(object)["annotations"].(object)["apps.sampan.dev/command"].(string)
		verb, id, _ := strings.Cut(command, "#")
		other := canary()
		other["status"].(object)["command"] = object{"id": "another", "verb": verb, "done": true, "message": "of someone else"}
		mine := canary()
		mine["status"].(object)["command"] = object{"id": id, "verb": verb, "done": done, "message": message}
		api.watches[shop] = []any{other, mine}
		return nil, 0, false
	}
	return api
}

func TestCommandsWaitForTheirAnswer(t *testing.T) {
	for args, want := range map[string]string{
		"app promote web":     "promote#",
		"app abort web":       "abort#",
		"app pause web":       "pause#",
		"app resume web":      "resume#",
		"app rollback web":    "rollback#",
		"app rollback web r2": "rollback:2#",
		"app rollback web 2":  "rollback:2#",
	} {
		api := obeying(true, "so be it")
		code, out, errOut := typed(t, api, "en", "", strings.Fields(args)...)
		if code != 0 || out != "web: so be it\n" {
			t.Errorf("sampan %s: exit code %d, %q, %s", args, code, out, errOut)
		}
		got := api.patches[0].body["metadata"].(object)["annotations"].(object)["apps.sampan.dev/command"].(string)
		if !strings.HasPrefix(got, want) || len(got) < len(want)+8 {
			t.Errorf("sampan %s asks for %q, want %s and an ID", args, got, want)
		}
	}
	code, _, errOut := typed(t, obeying(false, "nothing is being shipped"), "en", "", "app", "promote", "web")
	if code != 1 || !strings.Contains(errOut, "nothing is being shipped") {
		t.Errorf("a refused promote: exit code %d, %s", code, errOut)
	}
	_, _, errOut = typed(t, obeying(false, "revision r9 is not in the history"), "en", "", "app", "rollback", "web", "r9")
	if !strings.Contains(errOut, "rollback web: revision r9") {
		t.Errorf("a refused rollback is called something else than the command: %s", errOut)
	}
}

func TestARefusedScaleNamesTheApp(t *testing.T) {
	api := &fakeAPI{answer: func(string, object) (any, int, bool) {
		return object{"kind": "Status", "status": "Failure", "reason": "Invalid", "code": 422, "message": "refused", "details": object{
			"causes": []object{{"field": "spec", "message": "Invalid value: only services and workers scale"}}}}, 422, true
	}}
	code, _, errOut := typed(t, api, "en", "", "app", "scale", "tick", "3")
	if code != 1 || !strings.Contains(errOut, "scale tick 3: ") || !strings.Contains(errOut, "only services and workers scale") {
		t.Errorf("a refused scale: exit code %d, %s", code, errOut)
	}
}

func TestScale(t *testing.T) {
	for arg, want := range map[string]object{
		"5":    {"replicas": 5.0},
		"0":    {"replicas": 0.0},
		"1..9": {"replicas": nil, "min": 1.0, "max": 9.0},
		"2..":  {"replicas": nil, "min": 2.0, "max": nil},
		"..9":  {"replicas": nil, "min": nil, "max": 9.0},
		"auto": {"replicas": nil},
	} {
		api := &fakeAPI{}
		code, _, errOut := typed(t, api, "en", "", "app", "scale", "web", arg)
		if code != 0 {
			t.Errorf("app scale web %s: exit code %d, %s", arg, code, errOut)
			continue
		}
		got := api.patches[0].body["spec"].(object)["scale"].(object)
		for key, value := range want {
			if v, ok := got[key]; !ok || v != value {
				t.Errorf("app scale web %s: %s = %v, want %v", arg, key, v, value)
			}
		}
		if len(got) != len(want) {
			t.Errorf("app scale web %s = %v, want %v", arg, got, want)
		}
	}
	for _, arg := range []string{"many", "-1", "1...2", "5..x"} {
		if code, _, _ := typed(t, &fakeAPI{}, "en", "", "app", "scale", "web", "--", arg); code != 1 {
			t.Errorf("app scale web %s is taken", arg)
		}
	}
}
