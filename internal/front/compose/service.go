package compose

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/compose-spec/compose-go/v2/types"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sampan-cloud/sampan/api/v1alpha1"
)

// Extension is the key under which a service may have any field of an App's
// spec. It has the last word.
const Extension = "x-sampan"

// understood are the fields of a service that have a meaning here, or that
// compose-go has worked into the others. What is not among them is noted;
// extensions of others (x-…) are none of our business, as the format has it.
var understood = map[string]bool{
	"image": true, "command": true, "entrypoint": true, "environment": true, "env_file": true, "working_dir": true, "user": true,
	"ports": true, "expose": true, "healthcheck": true, "volumes": true, "tmpfs": true, "secrets": true, "configs": true,
	"depends_on": true, "deploy": true, "scale": true, "restart": true, "stop_grace_period": true, "platform": true,
	"cpus": true, "mem_limit": true, "mem_reservation": true, "networks": true, "profiles": true, "extends": true, "build": true,
	"links": true, "gpus": true, "pull_policy": true,
	"attach": true, // of a terminal that no deployment has
}

func (c *converter) service(s types.ServiceConfig) {
	at := path{"services", s.Name}
	name := appName(s.Name)
	if name != s.Name {
		c.note(at, WhyRenamed, name)
	}
	if s.Build != nil {
		c.note(at.to("build"), WhyBuild, s.Image)
	}
	if s.Image == "" {
		c.refuse(at, "name the image that it runs: nothing is built here")
		return
	}
	spec := v1alpha1.AppSpec{Kind: v1alpha1.Service, Image: s.Image, Command: s.Entrypoint, Args: s.Command, WorkingDir: s.WorkingDir}
	c.ports(at, s, &spec)
	c.lifetime(at, s, &spec)
	c.environment(at, s, &spec)
	c.identity(at, s, &spec)
	c.health(at, s, &spec)
	c.mounts(at, s, &spec)
	c.resources(at, s, &spec)
	c.deploy(at, s, &spec)
	c.dependencies(at, s, &spec)
	c.rest(at, s)
	object := map[string]any{
		"apiVersion": v1alpha1.GroupVersion.String(), "kind": "App",
		"metadata": map[string]any{"name": name, "labels": map[string]any{projectLabel: c.project.Name}},
		"spec":     c.extended(at, s, spec),
	}
	c.add(at, object)
}

// projectLabel is on all that a project consists of.
const projectLabel = "com.docker.compose.project"

var noName = regexp.MustCompile(`[^a-z0-9-]+`)

// appName makes a DNS label that begins with a letter of a service's name.
func appName(s string) string {
	name := strings.Trim(noName.ReplaceAllString(strings.ToLower(s), "-"), "-")
	if name == "" || name[0] < 'a' {
		name = "s" + name
	}
	return strings.TrimRight(name[:min(len(name), 52)], "-")
}

// lifetime decides how the app lives and ends.
func (c *converter) lifetime(at path, s types.ServiceConfig, spec *v1alpha1.AppSpec) {
	mode := ""
	if s.Deploy != nil {
		mode = s.Deploy.Mode
	}
	policy, tries, _ := strings.Cut(s.Restart, ":")
	switch {
	case c.jobs[s.Name] || strings.HasSuffix(mode, "-job"):
		spec.Kind, spec.Ports = v1alpha1.Job, nil
		if n, err := strconv.Atoi(tries); err == nil && policy == "on-failure" {
			spec.Retry.Limit = ptr(int32(n))
		}
		if policy == "no" {
			spec.Retry.Limit = ptr(int32(0))
		}
	case policy == "no" || policy == "on-failure":
		c.note(at.to("restart"), WhyRestart)
		fallthrough
	default:
		if len(spec.Ports) == 0 {
			spec.Kind = v1alpha1.Worker
		}
		spec.Scale = &v1alpha1.Scale{Replicas: ptr(int32(s.GetScale()))}
	}
	if s.StopGracePeriod != nil {
		spec.StopTimeout = duration(*s.StopGracePeriod)
	}
}

// ports are those that the service publishes, which are taken to speak HTTP
// unless the file says otherwise, and those that it only exposes.
func (c *converter) ports(at path, s types.ServiceConfig, spec *v1alpha1.AppSpec) {
	have := func(port int32, udp bool) bool {
		return slices.ContainsFunc(spec.Ports, func(p v1alpha1.Port) bool {
			return p.Port == port && (p.Protocol == v1alpha1.UDP) == udp
		})
	}
	for i, p := range s.Ports {
		protocol := v1alpha1.HTTP
		switch app := strings.ToLower(p.AppProtocol); {
		case p.Protocol == "udp":
			protocol = v1alpha1.UDP
		case app == "grpc":
			protocol = v1alpha1.GRPC
		case app == "h2c" || app == "http2":
			protocol = v1alpha1.H2C
		case app != "" && app != "http" || p.Protocol != "" && p.Protocol != "tcp":
			protocol = v1alpha1.TCP
		}
		if p.Published != "" && p.Published != "0" {
			c.note(at.to("ports", strconv.Itoa(i)), WhyPublished, p.Published)
		}
		if !have(int32(p.Target), protocol == v1alpha1.UDP) {
			spec.Ports = append(spec.Ports, v1alpha1.Port{Port: int32(p.Target), Protocol: protocol, Name: portName(p.Name)})
		}
	}
	for i, e := range s.Expose {
		number, protocol, _ := strings.Cut(e, "/")
		n, err := strconv.ParseUint(number, 10, 16)
		if err != nil {
			c.refuse(at.to("expose", strconv.Itoa(i)), "%q is no port", e)
			continue
		}
		kind := v1alpha1.TCP
		if protocol == "udp" {
			kind = v1alpha1.UDP
		}
		if !have(int32(n), protocol == "udp") {
			spec.Ports = append(spec.Ports, v1alpha1.Port{Port: int32(n), Protocol: kind})
		}
	}
}

func portName(s string) string {
	s = strings.Trim(noName.ReplaceAllString(strings.ToLower(s), "-"), "-")
	return strings.Trim(s[:min(len(s), 15)], "-")
}

func (c *converter) environment(at path, s types.ServiceConfig, spec *v1alpha1.AppSpec) {
	for _, name := range sortedKeys(s.Environment) {
		value := s.Environment[name]
		if value == nil {
			c.note(at.to("environment"), WhyNoValue, name)
			continue
		}
		spec.Env = append(spec.Env, v1alpha1.EnvVar{Name: name, Value: *value})
	}
}

// identity is the user and the machine that the service wants.
func (c *converter) identity(at path, s types.ServiceConfig, spec *v1alpha1.AppSpec) {
	if s.User != "" {
		user, group, _ := strings.Cut(s.User, ":")
		id, err := strconv.ParseInt(user, 10, 64)
		if err == nil {
			spec.User = &id
		}
		if err != nil || group != "" {
			c.note(at.to("user"), WhyUser)
		}
	}
	if s.Platform != "" {
		parts := strings.Split(s.Platform, "/")
		selector := map[string]string{"kubernetes.io/os": parts[0]}
		if len(parts) > 1 {
			selector["kubernetes.io/arch"] = parts[1]
		}
		if len(parts) > 2 || len(parts) == 1 && parts[0] != "linux" {
			c.note(at.to("platform"), WhyMeaningless)
			return
		}
		spec.NodeSelector = selector
	}
}

// dependencies waits for services to be ready; that is the strongest of
// compose's conditions.
func (c *converter) dependencies(at path, s types.ServiceConfig, spec *v1alpha1.AppSpec) {
	for _, name := range sortedKeys(s.DependsOn) {
		if _, ok := c.project.Services[name]; !ok {
			continue // not required, and switched off: noted by its profile
		}
		spec.DependsOn = append(spec.DependsOn, appName(name))
		other := c.project.Services[name]
		if len(other.Ports) == 0 && len(other.Expose) == 0 && !c.jobs[name] {
			c.note(path{"services", name}, WhyNoPort, s.Name)
		}
		if s.DependsOn[name].Restart {
			c.note(at.to("depends_on", name, "restart"), WhyMeaningless)
		}
	}
	for i, l := range s.Links {
		if name, alias, ok := strings.Cut(l, ":"); ok && alias != name {
			c.note(at.to("links", strconv.Itoa(i)), WhyAlias, appName(name))
		}
	}
}

// rest notes every field that nothing above has understood. The fields are
// those of the merged service, so that what comes by extends counts.
func (c *converter) rest(at path, s types.ServiceConfig) {
	data, err := json.Marshal(s)
	if err != nil {
		c.refuse(at, "%v", err)
		return
	}
	var fields map[string]any
	if err := json.Unmarshal(data, &fields); err != nil {
		c.refuse(at, "%v", err)
		return
	}
	for _, f := range sortedKeys(fields) {
		if !understood[f] {
			c.note(at.to(f), WhyMeaningless)
		}
	}
	if p := s.PullPolicy; p != "" && p != types.PullPolicyMissing && p != types.PullPolicyIfNotPresent {
		c.note(at.to("pull_policy"), WhyMeaningless)
	}
	for _, n := range sortedKeys(s.Networks) {
		c.serviceNetwork(at.to("networks", n), s.Name, s.Networks[n])
	}
}

// extended is the spec as JSON, without what is empty and with the service's
// extension laid over it.
func (c *converter) extended(at path, s types.ServiceConfig, spec v1alpha1.AppSpec) map[string]any {
	var object map[string]any
	data, err := json.Marshal(spec)
	if err == nil {
		err = json.Unmarshal(data, &object)
	}
	if err != nil {
		c.refuse(at, "%v", err)
		return nil
	}
	prune(object)
	switch more := s.Extensions[Extension].(type) {
	case nil:
	case map[string]any:
		merge(object, more)
	default:
		c.refuse(at.to(Extension), "must be a mapping of fields of an App")
	}
	return object
}

// prune takes away objects that say nothing, which the zero values of structs
// leave behind.
func prune(o map[string]any) {
	for key, v := range o {
		if inner, ok := v.(map[string]any); ok {
			if prune(inner); len(inner) == 0 {
				delete(o, key)
			}
		}
		if list, ok := v.([]any); ok {
			for _, e := range list {
				if inner, ok := e.(map[string]any); ok {
					prune(inner)
				}
			}
		}
	}
}

// merge lays b over a: objects field by field, all else as a whole, null
// removes.
func merge(a, b map[string]any) {
	for key, v := range b {
		inner, ok := v.(map[string]any)
		old, both := a[key].(map[string]any)
		switch {
		case v == nil:
			delete(a, key)
		case ok && both:
			merge(old, inner)
		default:
			a[key] = v
		}
	}
}

func sortedKeys[V any, M ~map[string]V](m M) []string { return slices.Sorted(maps.Keys(m)) }

func ptr[T any](v T) *T { return &v }

func duration(d types.Duration) *metav1.Duration {
	return &metav1.Duration{Duration: time.Duration(d)}
}

func bytesOf(n types.UnitBytes) *resource.Quantity {
	return resource.NewQuantity(int64(n), resource.BinarySI)
}

func processors(n float32) *resource.Quantity {
	q := resource.MustParse(fmt.Sprintf("%dm", int64(n*1000+0.5)))
	return &q
}
