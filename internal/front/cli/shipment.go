package cli

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/sampan-cloud/sampan/api/client"
	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// shipment is an app as flags describe it. Only flags that were given count.
type shipment struct {
	name, image    string
	args           []string
	ports          []string
	env            []string
	cpu, memory    string
	replicas       int
	min, max       int
	hosts          []string
	kind, schedule string
	strategy       string
	steps          string
	cause          string
	set            func(flag string) bool
	text           text // of the user
}

// given tells whether any flag says something about an app.
func (s shipment) given() bool {
	return slices.ContainsFunc([]string{"image", "port", "env", "cpu", "memory", "replicas", "min", "max", "host",
		"kind", "schedule", "strategy", "steps", "cause"}, s.set)
}

// flag names the flag that says what field of an app should be.
func (s shipment) flag(field string) string {
	for _, f := range []struct{ field, flag string }{
		{"spec.image", "--image"}, {"spec.ports", "--port"}, {"spec.env", "--env"},
		{"spec.resources.cpu", "--cpu"}, {"spec.resources.limits.cpu", "--cpu"},
		{"spec.resources.memory", "--memory"}, {"spec.resources.limits.memory", "--memory"},
		{"spec.scale.replicas", "--replicas"}, {"spec.scale.min", "--min"}, {"spec.scale.max", "--max"},
		{"spec.routes", "--host"}, {"spec.kind", "--kind"}, {"spec.schedule", "--schedule"},
		{"spec.rollout.strategy", "--strategy"}, {"spec.rollout.steps", "--steps"}, {"metadata.name", s.name},
	} {
		if strings.HasPrefix(field, f.field) {
			return f.flag
		}
	}
	return ""
}

// object is the app to apply: the one that is there, or a fresh one, with what
// the flags say.
func (s shipment) object(ctx context.Context, k *client.Kube) (o object, fresh bool, err error) {
	var now struct {
		Metadata struct{ ResourceVersion string }
		Spec     object
	}
	meta := object{"name": s.name, "namespace": k.Namespace}
	err = k.Get(ctx, client.AppPath(k.Namespace, s.name), &now)
	switch {
	case err == nil:
		meta["resourceVersion"] = now.Metadata.ResourceVersion
	case fault.Of(err) == fault.NotFound && !noSuchKind(err):
		fresh, now.Spec = true, object{}
	default:
		return nil, false, err
	}
	if s.cause != "" {
		meta["annotations"] = object{"kubernetes.io/change-cause": s.cause}
	}
	if err := s.onto(now.Spec); err != nil {
		return nil, false, err
	}
	return object{"apiVersion": client.AppVersion, "kind": "App", "metadata": meta, "spec": now.Spec}, fresh, nil
}

// onto changes spec by what the flags say.
func (s shipment) onto(spec object) error {
	put := func(flag string, value any, path ...string) {
		if s.set(flag) {
			within(spec, path[:len(path)-1]...)[path[len(path)-1]] = value
		}
	}
	put("image", s.image, "image")
	put("kind", s.kind, "kind")
	if s.set("schedule") {
		spec["kind"], spec["schedule"] = "cron", s.schedule
	}
	if len(s.args) > 0 {
		spec["args"] = s.args
	}
	put("cpu", s.cpu, "resources", "cpu")
	put("cpu", s.cpu, "resources", "limits", "cpu")
	put("memory", s.memory, "resources", "memory")
	put("memory", s.memory, "resources", "limits", "memory")
	if s.set("min") || s.set("max") {
		// A fixed number would win over the limits.
		delete(within(spec, "scale"), "replicas")
	}
	put("replicas", s.replicas, "scale", "replicas")
	put("min", s.min, "scale", "min")
	put("max", s.max, "scale", "max")
	if s.set("strategy") {
		rollout := within(spec, "rollout")
		if rollout["strategy"] != s.strategy {
			delete(rollout, "steps") // another strategy's
		}
		rollout["strategy"] = s.strategy
	}
	if s.set("host") {
		var routes []object
		for _, h := range s.hosts {
			routes = append(routes, object{"host": h})
		}
		spec["routes"] = routes
	}
	for _, set := range []func(object) error{s.putPorts, s.putEnv, s.putSteps} {
		if err := set(spec); err != nil {
			return err
		}
	}
	return nil
}

// within is the object at path below o, made where it is not there.
func within(o object, path ...string) object {
	for _, key := range path {
		next, ok := o[key].(object)
		if !ok {
			next = object{}
			o[key] = next
		}
		o = next
	}
	return o
}

// putPorts reads PORT[/PROTOCOL].
func (s shipment) putPorts(spec object) error {
	if !s.set("port") {
		return nil
	}
	var ports []object
	for _, p := range s.ports {
		number, protocol, ok := strings.Cut(p, "/")
		n, err := strconv.Atoi(number)
		if err != nil || ok && protocol == "" {
			return fmt.Errorf("%s: %w", s.text.get("deploy.badport", p), fault.Invalid)
		}
		port := object{"port": n, "protocol": "HTTP"}
		if ok {
			port["protocol"] = strings.ToUpper(protocol)
		}
		ports = append(ports, port)
	}
	spec["ports"] = ports
	return nil
}

// putEnv sets variables and leaves the others as they are; NAME- takes one away.
func (s shipment) putEnv(spec object) error {
	env, _ := spec["env"].([]any)
	for _, e := range s.env {
		name, value, ok := strings.Cut(e, "=")
		gone := !ok && strings.HasSuffix(e, "-")
		if gone {
			name = strings.TrimSuffix(e, "-")
		}
		if name == "" || !ok && !gone {
			return fmt.Errorf("%s: %w", s.text.get("deploy.badenv", e), fault.Invalid)
		}
		env = slices.DeleteFunc(env, func(v any) bool { return v.(object)["name"] == name })
		if !gone {
			env = append(env, object{"name": name, "value": value})
		}
	}
	if s.set("env") {
		spec["env"] = env
	}
	return nil
}

// putSteps reads WEIGHT[:PAUSE],… as in 10:1m,50:manual.
func (s shipment) putSteps(spec object) error {
	if !s.set("steps") {
		return nil
	}
	var steps []object
	for part := range strings.SplitSeq(s.steps, ",") {
		weight, pause, ok := strings.Cut(strings.TrimSpace(part), ":")
		n, err := strconv.Atoi(strings.TrimSuffix(weight, "%"))
		if err != nil || ok && pause == "" {
			return fmt.Errorf("%s: %w", s.text.get("deploy.badsteps", s.steps), fault.Invalid)
		}
		step := object{"weight": n}
		if ok {
			step["pause"] = pause
		}
		steps = append(steps, step)
	}
	rollout := within(spec, "rollout")
	rollout["steps"] = steps
	if rollout["strategy"] == nil || rollout["strategy"] == "rolling" {
		rollout["strategy"] = "canary" // the one that has steps
	}
	return nil
}
