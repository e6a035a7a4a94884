package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// running answers every apply with an app that serves at once.
func running(api *fakeAPI) *fakeAPI {
	api.watches = map[string][]any{}
	api.answer = func(path string, body object) (any, int, bool) {
		meta := body["metadata"].(object)
		meta["generation"] = 2
		body["status"] = object{
			"observedGeneration": 2, "copies": "1/1", "url": "http://" + meta["name"].(string) + ".shop.sampan.local",
			"conditions": []object{{"type": "Ready", "status": "True", "reason": "Running"}},
			"rollout":    object{"revision": "r1", "phase": "Done"},
		}
		collection := filepath.Dir(path)
		api.watches[collection] = append(api.watches[collection], body)
		return body, 200, true
	}
	return api
}

// spec is what the n-th patch asks for, as compact JSON.
func (f *fakeAPI) spec(t *testing.T, n int) string {
	t.Helper()
	if n >= len(f.patches) {
		t.Fatalf("%d objects applied, want more than %d", len(f.patches), n)
	}
	data, err := json.Marshal(f.patches[n].body["spec"])
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestDeployByFlags(t *testing.T) {
	for name, tt := range map[string]struct {
		args, now, want string
	}{
		"a fresh app has what the flags say": {
			args: "--image web:1 --port 80 --port 53/udp --env A=1 --cpu 500m --memory 64Mi --min 1 --max 4 --host a.example",
			want: `{"env":[{"name":"A","value":"1"}],"image":"web:1","ports":[{"port":80,"protocol":"HTTP"},{"port":53,"protocol":"UDP"}],` +
				`"resources":{"cpu":"500m","limits":{"cpu":"500m","memory":"64Mi"},"memory":"64Mi"},"routes":[{"host":"a.example"}],"scale":{"max":4,"min":1}}`,
		},
		"what no flag names stays": {
			args: "--image web:2",
			now:  `{"image":"web:1","ports":[{"port":80}],"env":[{"name":"A","value":"1"}]}`,
			want: `{"env":[{"name":"A","value":"1"}],"image":"web:2","ports":[{"port":80}]}`,
		},
		"variables change one by one": {
			args: "--env B=2 --env A-",
			now:  `{"image":"web:1","env":[{"name":"A","value":"1"},{"name":"C","from":{"secret":{"name":"s","key":"k"}}}]}`,
			want: `{"env":[{"from":{"secret":{"key":"k","name":"s"}},"name":"C"},{"name":"B","value":"2"}],"image":"web:1"}`,
		},
		"steps make a canary": {
			args: "--image web:2 --steps 10,50:manual",
			now:  `{"image":"web:1"}`,
			want: `{"image":"web:2","rollout":{"steps":[{"weight":10},{"pause":"manual","weight":50}],"strategy":"canary"}}`,
		},
		"another strategy drops the steps of the last": {
			args: "--strategy rolling",
			now:  `{"image":"web:1","rollout":{"strategy":"canary","steps":[{"weight":5}]}}`,
			want: `{"image":"web:1","rollout":{"strategy":"rolling"}}`,
		},
		"limits end a fixed number": {
			args: "--max 9",
			now:  `{"image":"web:1","scale":{"replicas":3}}`,
			want: `{"image":"web:1","scale":{"max":9}}`,
		},
		"arguments follow two dashes": {
			args: "--image web:1 --schedule @hourly -- tidy --all",
			want: `{"args":["tidy","--all"],"image":"web:1","kind":"cron","schedule":"@hourly"}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			api := running(&fakeAPI{objects: map[string]any{}})
			if tt.now != "" {
				api.objects[shop+"/web"] = object{"metadata": object{"name": "web", "resourceVersion": "7"}, "spec": json.RawMessage(tt.now)}
			}
			code, out, errOut := typed(t, api, "en", "", append([]string{"deploy", "web"}, strings.Fields(tt.args)...)...)
			if code != 0 || out != "http://web.shop.sampan.local\n" {
				t.Fatalf("exit code %d, %q, %s", code, out, errOut)
			}
			if got := api.spec(t, 0); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
			if v := api.patches[0].body["metadata"].(object)["resourceVersion"]; (v == "7") != (tt.now != "") {
				t.Errorf("resourceVersion = %v", v)
			}
		})
	}
}

func TestDeployLooksAgainWhenAnotherWasFaster(t *testing.T) {
	api := running(&fakeAPI{objects: map[string]any{shop + "/web": object{"metadata": object{"resourceVersion": "7"}, "spec": object{"image": "web:1"}}}})
	then, refused := api.answer, false
	api.answer = func(path string, body object) (any, int, bool) {
		if !refused {
			refused = true
			return object{"message": "the object has been modified", "reason": "Conflict"}, 409, true
		}
		return then(path, body)
	}
	if code, _, errOut := typed(t, api, "en", "", "deploy", "web", "--image", "web:2"); code != 0 || len(api.patches) != 2 {
		t.Errorf("exit code %d after %d tries: %s", code, len(api.patches), errOut)
	}
}

func TestDeployRefusesWhatMakesNoSense(t *testing.T) {
	for args, want := range map[string]string{
		"deploy":                               "-f FILE",
		"deploy web":                           "no app web yet",
		"deploy web --image x --port eighty":   `--port "eighty"`,
		"deploy web --image x --env A":         `--env "A"`,
		"deploy web --image x --steps ten":     `--steps "ten"`,
		"deploy web --image x -f app.yaml":     "not both",
		"deploy -f testdata/missing.yaml":      "missing.yaml",
		"deploy -f testdata/bad/indent.yaml":   "testdata/bad/indent.yaml:3:15: mapping values are not allowed",
		"deploy -f testdata/bad/kind.yaml":     "testdata/bad/kind.yaml:2:1: apps/v1 Deployment is no App",
		"deploy -f testdata/bad/cycle.yaml":    "depends on itself",
		"deploy -f testdata/bad/scalar.yaml":   "testdata/bad/scalar.yaml:1:1: not an object",
		"deploy -f testdata/bad/nameless.yaml": "testdata/bad/nameless.yaml:3:1: metadata.name is missing",
	} {
		api := running(&fakeAPI{})
		code, _, errOut := typed(t, api, "en", "", strings.Fields(args)...)
		if code != 1 || !strings.Contains(errOut, want) {
			t.Errorf("sampan %s: exit code %d, %q; want %q in it", args, code, errOut, want)
		}
		if len(api.patches) > 0 {
			t.Errorf("sampan %s has applied %v", args, api.patches)
		}
	}
}

func TestDeployFile(t *testing.T) {
	api := running(&fakeAPI{})
	code, out, errOut := typed(t, api, "en", "", "deploy", "-f", "testdata/shop")
	if code != 0 || out != "http://db.shop.sampan.local\nhttp://web.shop.sampan.local\n" {
		t.Fatalf("exit code %d, %q, %s", code, out, errOut)
	}
	var paths []string
	for _, p := range api.patches {
		paths = append(paths, strings.TrimPrefix(p.path, "/"))
	}
	want := "api/v1/namespaces/shop/configmaps/settings apis/apps.sampan.dev/v1alpha1/namespaces/shop/apps/db apis/apps.sampan.dev/v1alpha1/namespaces/shop/apps/web"
	if got := strings.Join(paths, " "); got != want {
		t.Errorf("applied %s\nwant    %s", got, want)
	}
}

func TestDryRunChangesNothing(t *testing.T) {
	api := running(&fakeAPI{})
	code, out, _ := typed(t, api, "en", "", "deploy", "web", "--image", "web:1", "--dry-run")
	if code != 0 || len(api.patches) > 0 || !strings.Contains(out, "image: web:1\n") {
		t.Errorf("exit code %d, %d applied, %s", code, len(api.patches), out)
	}
}

func TestTheAPIsRefusalIsSaidWhereItWasWritten(t *testing.T) {
	refusal := object{"message": `App.apps.sampan.dev "web" is invalid`, "reason": "Invalid", "details": object{"causes": []object{
		{"field": "spec.ports[0].port", "reason": "FieldValueInvalid", "message": `Invalid value: 70000: spec.ports[0].port in body should be less than or equal to 65535`},
		{"field": "spec.scale", "reason": "FieldValueInvalid", "message": `Invalid value: "object": min is greater than max`},
	}}}
	api := &fakeAPI{answer: func(string, object) (any, int, bool) { return refusal, 422, true }}
	_, _, errOut := typed(t, api, "en", "", "deploy", "-f", "testdata/bad/ports.yaml")
	want := "sampan: testdata/bad/ports.yaml:8:5: spec.ports[0].port: should be less than or equal to 65535: invalid\n" +
		"testdata/bad/ports.yaml:9:3: spec.scale: min is greater than max: invalid\n"
	if errOut != want {
		t.Errorf("by a file: got\n%swant\n%s", errOut, want)
	}
	_, _, errOut = typed(t, api, "en", "", "deploy", "web", "--image", "x", "--port", "70000")
	if !strings.HasPrefix(errOut, "sampan: --port: should be less than or equal to 65535: invalid\n") {
		t.Errorf("by flags: got %s", errOut)
	}
	refusal = object{"message": `failed to create typed patch object (shop/web; apps.sampan.dev/v1alpha1, Kind=App): .spec.replicas: field not declared in schema`}
	_, _, errOut = typed(t, api, "en", "", "deploy", "-f", "testdata/bad/field.yaml")
	if want := "sampan: testdata/bad/field.yaml:7:3: spec.replicas: field not declared in schema: invalid"; !strings.HasPrefix(errOut, want) {
		t.Errorf("an unknown field: got %s, want %s", errOut, want)
	}
}

func TestPlainWords(t *testing.T) {
	for message, want := range map[string]string{
		`Invalid value: 7: spec.ports[0].port in body should be more`:                         "should be more",
		`Invalid value: "object": give size or claim, not both`:                               "give size or claim, not both",
		`Invalid value: min is greater than max`:                                              "min is greater than max",
		`Unsupported value: "x": supported values: "a", "b"`:                                  `Unsupported value: "x": supported values: "a", "b"`,
		`spec.resources.cpu in body should match '^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))…'`: "is no quantity such as 500m or 128Mi",
	} {
		if got := (&app{text: load("en")}).plain(message); got != want {
			t.Errorf("plain(%q) = %q, want %q", message, got, want)
		}
	}
}

func TestHowAWaitEnds(t *testing.T) {
	for name, tt := range map[string]struct {
		status object
		code   int
		want   string
	}{
		"taken back":                     {object{"observedGeneration": 2, "rollout": object{"revision": "r2", "phase": "TakenBack", "message": "41 % failed"}}, 1, "r2 was taken back: 41 % failed"},
		"waits for a person":             {object{"observedGeneration": 2, "rollout": object{"revision": "r2", "phase": "Watching", "weight": 10, "paused": "step"}}, 0, "sampan app promote web"},
		"no address":                     {object{"observedGeneration": 2, "conditions": []object{{"type": "Ready", "status": "True", "reason": "Scheduled"}}}, 0, "web: scheduled. It has no URL."},
		"still of the generation before": {object{"observedGeneration": 1, "conditions": []object{{"type": "Ready", "status": "True"}}}, 1, "not ready after 1s"},
		"broken for longer than it may":  {object{"observedGeneration": 2, "conditions": []object{{"type": "Degraded", "status": "True", "reason": "ImageNotPulled", "message": "no such image"}}}, 1, "ImageNotPulled: no such image"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			api := running(&fakeAPI{})
			api.answer = func(path string, body object) (any, int, bool) {
				body["metadata"].(object)["generation"] = 2
				now := object{"metadata": body["metadata"], "status": tt.status}
				api.watches[filepath.Dir(path)] = []any{now}
				return body, 200, true
			}
			timeout := "1s"
			if strings.HasPrefix(name, "broken") {
				timeout = "15s"
			}
			code, out, errOut := typed(t, api, "en", "", "deploy", "web", "--image", "web:2", "--timeout", timeout)
			if code != tt.code || !strings.Contains(out+errOut, tt.want) {
				t.Errorf("exit code %d, %q, %q; want %d and %q", code, out, errOut, tt.code, tt.want)
			}
		})
	}
}

func TestACloudWithoutAppsSaysSo(t *testing.T) {
	api := &fakeAPI{answer: func(string, object) (any, int, bool) {
		return object{"message": "the server could not find the requested resource", "reason": "NotFound"}, 404, true
	}}
	_, _, errOut := typed(t, api, "en", "", "deploy", "web", "--image", "x")
	if !strings.Contains(errOut, "knows no apps") {
		t.Error(errOut)
	}
}

func TestFilesOfADirectory(t *testing.T) {
	dir := t.TempDir()
	for _, f := range []string{"b.yml", "a.yaml", "notes.txt"} {
		if err := os.WriteFile(filepath.Join(dir, f), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := filesAt(dir, load("en"))
	if want := filepath.Join(dir, "a.yaml") + " " + filepath.Join(dir, "b.yml"); err != nil || strings.Join(got, " ") != want {
		t.Errorf("filesAt = %v, %v; want %s", got, err, want)
	}
	if err := os.WriteFile(filepath.Join(dir, "docker-compose.yml"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := filesAt(dir, load("en")); err != nil || len(got) != 1 || filepath.Base(got[0]) != "docker-compose.yml" {
		t.Errorf("with a compose file: %v, %v", got, err)
	}
}
