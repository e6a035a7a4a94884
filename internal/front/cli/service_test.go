package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const registered = "/apis/catalog.sampan.dev/v1alpha1/namespaces/shop/services/"

func TestWhatRegisterSends(t *testing.T) {
	for name, tt := range map[string]struct{ args, path, body string }{
		"a port and a check": {
			"db --address 192.0.2.7 --port 5432 --check tcp --interval 2s",
			"db/instances/192-0-2-7-5432",
			`{"address":"192.0.2.7","check":{"interval":"2s","tcp":true},"id":"192-0-2-7-5432","ports":[{"port":5432}]}`,
		},
		"named ports, another one of the service, a TTL": {
			"api --id a1 --address 192.0.2.7 --port http=80:8081 --port dns=53/udp --ttl 10s --headless=false",
			"api/instances/a1",
			`{"address":"192.0.2.7","headless":false,"id":"a1","ports":[{"name":"http","port":8081,"servicePort":80},{"name":"dns","port":53,"protocol":"udp"}],"ttl":"10s"}`,
		},
		"a check by URL, with words about it": {
			"api --address Web.Example.org --port 8443 --check https://web.example.org:9443/health?deep=1 --failures 3 --tag blue --meta rack=3",
			"api/instances/web-example-org-8443",
			`{"address":"Web.Example.org","check":{"failures":3,"host":"web.example.org","http":"/health?deep=1","https":true,"port":9443},"id":"web-example-org-8443","meta":{"rack":"3"},"ports":[{"port":8443}],"tags":["blue"]}`,
		},
		"an IPv6 address": {
			"db --address 2001:db8::7 --port 5432 --headless --check http:/health",
			"db/instances/2001-db8--7-5432",
			`{"address":"2001:db8::7","check":{"http":"/health"},"headless":true,"id":"2001-db8--7-5432","ports":[{"port":5432}]}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			api := &fakeAPI{}
			code, out, errOut := typed(t, api, "en", "", append([]string{"service", "register"}, strings.Fields(tt.args)...)...)
			if code != 0 || len(api.patches) != 1 {
				t.Fatalf("register %s: exit code %d, %d requests: %s%s", tt.args, code, len(api.patches), out, errOut)
			}
			body, err := json.Marshal(api.patches[0].body)
			if err != nil || string(body) != tt.body || api.patches[0].path != registered+tt.path {
				t.Errorf("register %s sends %s\n%s, want %s\n%s", tt.args, api.patches[0].path, body, registered+tt.path, tt.body)
			}
		})
	}
}

func TestWhatRegisterRefuses(t *testing.T) {
	for args, want := range map[string]string{
		"db --address 192.0.2.7":                             "no --port is given",
		"db --address 192.0.2.7 --port x":                    `port "x" is not [NAME=]`,
		"db --address 192.0.2.7 --port 1 --check gone":       `check "gone" is not tcp`,
		"db --address 192.0.2.7 --port 1 --check tcp:x":      `check "tcp:x" is not tcp`,
		"db --address 192.0.2.7 --port 1 --meta rack":        `"rack" is not KEY=VALUE`,
		"db --address 192.0.2.7 --port 1 --ttl soon":         `--ttl: "soon" is no duration`,
		"--address 192.0.2.7 --port 1":                       "sampan service register NAME",
		"db --address 192.0.2.7 --port 70000 --check http:/": `port "70000" is not`,
	} {
		api := &fakeAPI{}
		code, _, errOut := typed(t, api, "en", "", append([]string{"service", "register"}, strings.Fields(args)...)...)
		if code == 0 || !strings.Contains(errOut, want) || len(api.patches) > 0 {
			t.Errorf("register %s: exit code %d, %s; want %s and nothing sent", args, code, errOut, want)
		}
	}
}

func TestWhatAServiceLooksLike(t *testing.T) {
	hour := ago(time.Hour)
	api := &fakeAPI{objects: map[string]any{registered + "db": object{
		"namespace": "shop", "name": "db", "address": "10.43.0.9", "ports": []object{{"name": "sql", "port": 5432}},
		"instances": []object{
			{"id": "one", "address": "192.0.2.7", "ports": []object{{"name": "sql", "port": 5432}}, "ttl": "10s", "status": object{"state": "ready", "since": hour}},
			{"id": "two", "address": "192.0.2.8", "ports": []object{{"name": "sql", "port": 5433}}, "check": object{"http": "/health", "interval": "5s"},
				"status": object{"state": "failing", "since": hour, "message": "192.0.2.8:5433: no answer in 2s"}},
		},
	}}}
	for _, lang := range []string{"en", "zh"} {
		code, out, errOut := typed(t, api, lang, "", "service", "show", "db")
		if code != 0 {
			t.Errorf("exit code %d: %s", code, errOut)
		}
		golden(t, "service."+lang+".txt", out)
	}
	if code, _, errOut := typed(t, api, "en", "", "service", "show", "web"); code != 1 || !strings.Contains(errOut, `no service "web" in namespace shop has registered instances`) {
		t.Errorf("one that is not registered: exit code %d, %s", code, errOut)
	}
}

func TestAHeartbeatMayPause(t *testing.T) {
	api := &fakeAPI{}
	code, _, errOut := typed(t, api, "en", "", "service", "heartbeat", "db", "one", "--pause", "--message", "draining")
	if code != 0 || len(api.patches) != 1 || api.patches[0].path != registered+"db/heartbeats/one" || api.patches[0].body["paused"] != true || api.patches[0].body["message"] != "draining" {
		t.Errorf("exit code %d, %+v: %s", code, api.patches, errOut)
	}
}

// With --hold the command beats, registers again what was forgotten, and takes
// it out when it ends.
func TestHoldStaysWithAnInstance(t *testing.T) {
	calls, beats := make(chan string, 100), 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		call := r.Method + " " + strings.TrimPrefix(r.URL.Path, registered)
		if strings.Contains(call, "/heartbeats/") {
			if beats++; beats == 1 {
				reply(w, http.StatusNotFound, object{"message": "instance shop/db/one: not found"})
				calls <- call
				return
			}
		}
		reply(w, http.StatusOK, object{"id": "one"})
		calls <- call
	}))
	defer s.Close()
	config := filepath.Join(t.TempDir(), "kubeconfig")
	text := fmt.Sprintf("current-context: x\ncontexts: [{name: x, context: {cluster: x, namespace: shop}}]\nclusters: [{name: x, cluster: {server: %q}}]\n", s.URL)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(t.Context())
	defer end()
	var out, errOut bytes.Buffer
	env := Env{Out: &out, Err: &errOut, Getenv: func(string) string { return "" }}
	ended := make(chan int, 1)
	go func() {
		ended <- Main(ctx, env, strings.Fields("--kubeconfig "+config+" service register db --id one --address 192.0.2.7 --port 1 --ttl 100ms --hold"))
	}()
	for i, want := range []string{"PUT db/instances/one", "PUT db/heartbeats/one", "PUT db/instances/one", "PUT db/heartbeats/one", "DELETE db/instances/one"} {
		if i == 4 {
			end()
		}
		select {
		case got := <-calls:
			for i == 4 && got != want { // one more beat may have been on its way
				got = <-calls
			}
			if got != want {
				t.Errorf("request %d = %s, want %s", i, got, want)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("no request %d, want %s", i, want)
		}
	}
	if code := <-ended; code != 0 || out.String() != "db.shop: registered as one\n" {
		t.Errorf("exit code %d, %s%s", code, out.String(), errOut.String())
	}
}
