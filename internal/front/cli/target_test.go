package cli

import (
	"encoding/json"
	"strings"
	"testing"
)

// town is an API with one thing of each kind.
func town() *fakeAPI {
	const apps, batch, core = "/apis/apps/v1/namespaces/shop/", "/apis/batch/v1/namespaces/shop/", "/api/v1/namespaces/shop/"
	thing := func(name string, more object) object {
		o := object{"metadata": object{"name": name, "namespace": "shop", "generation": 1}}
		for k, v := range more {
			o[k] = v
		}
		return o
	}
	owned := func(name, kind, owner string) object {
		o := thing(name, nil)
		o["metadata"].(object)["ownerReferences"] = []object{{"kind": kind, "name": owner, "controller": true}}
		return o
	}
	selects := func(app string) object {
		return object{"spec": object{"replicas": 2, "selector": object{"matchLabels": object{"app": app}}},
			"status": object{"observedGeneration": 1, "readyReplicas": 5, "updatedReplicas": 5}}
	}
	pod := func(name, age string, more object) object {
		o := thing(name, more)
		o["metadata"].(object)["creationTimestamp"] = age
		o["spec"] = object{"containers": []object{{"name": "c", "image": "i"}}}
		return o
	}
	return &fakeAPI{
		objects: map[string]any{
			shop + "/web":                canary(),
			apps + "deployments/front":   thing("front", selects("front")),
			apps + "deployments/web-r3":  owned("web-r3", "App", "web"),
			apps + "replicasets/front-5": owned("front-5", "Deployment", "front"),
			apps + "statefulsets/db":     thing("db", selects("db")),
			apps + "daemonsets/agent":    thing("agent", selects("agent")),
			batch + "jobs/sum":           thing("sum", nil),
			batch + "cronjobs/nightly":   thing("nightly", nil),
			batch + "jobs":               object{"items": []object{}},
			core + "pods/lone":           pod("lone", ago(0), nil),
			core + "pods/front-5-x":      owned("front-5-x", "ReplicaSet", "front-5"),
			core + "pods/odd":            owned("odd", "Widget", "w"),
			core + "pods":                object{"items": []object{}},
		},
		watches: map[string][]any{
			apps + "deployments": {thing("front", selects("front"))}, apps + "statefulsets": {thing("db", selects("db"))},
		},
	}
}

func TestANameMayBeOfAnyKind(t *testing.T) {
	const copies = `{"spec":{"replicas":0}}`
	for args, tt := range map[string]struct {
		path, patch, says string
	}{
		"stop front":      {"/apis/apps/v1/namespaces/shop/deployments/front", copies, "front"},
		"scale db 2":      {"/apis/apps/v1/namespaces/shop/statefulsets/db", `{"spec":{"replicas":2}}`, ""},
		"stop web":        {shop + "/web", `{"spec":{"scale":{"replicas":0}}}`, "web"},
		"stop agent":      {"", "", "agent is a DaemonSet, with one copy on each node: `sampan rm agent` removes it"},
		"scale sum 2":     {"", "", "sum is a Job, which ends by itself"},
		"stop nightly":    {"", "", "nightly is a CronJob, which runs by its schedule"},
		"scale lone 2":    {"", "", "lone is a pod by itself"},
		"stop web-r3":     {"", "", "web-r3 belongs to App web, which would undo this: `sampan stop web` does it there"},
		"rm front-5-x":    {"", "", "front-5-x belongs to Deployment front, which would undo this: `sampan rm front` does it there"},
		"rm odd":          {"", "", "odd belongs to Widget w, which would undo this: change that"},
		"scale front 3x":  {"", "", `"3x" is no number of copies`},
		"rm nothing":      {"", "", `no app, pod or container "nothing" in namespace shop`},
		"logs db":         {"", "", "StatefulSet db has no copies now"},
		"exec agent true": {"", "", "DaemonSet agent has no copies now"},
		"run i --name db": {"", "", "StatefulSet db is there already"},
	} {
		t.Run(args, func(t *testing.T) {
			api := town()
			_, out, errOut := typed(t, api, "en", "", strings.Fields(args)...)
			if !strings.Contains(out+errOut, tt.says) {
				t.Errorf("says %q %q, want %q", out, errOut, tt.says)
			}
			path, patch := "", ""
			for _, p := range api.patches {
				data, err := json.Marshal(p.body)
				if err != nil {
					t.Fatal(err)
				}
				path, patch = p.path, string(data)
			}
			if path != tt.path || patch != tt.patch {
				t.Errorf("changed %q by %s, want %q by %s", path, patch, tt.path, tt.patch)
			}
		})
	}
}
