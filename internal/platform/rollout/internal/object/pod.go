package object

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/sampan-cloud/sampan/api/v1alpha1"
)

// drainSeconds is how long a copy goes on after it was told to stop. Gateways
// and node proxies hear of its end within that time, so no request meets a
// closed port.
const drainSeconds = 3

// ContainerName is the name of an app's container in its pods.
const ContainerName = "app"

// Addresses tells the ports of other apps of the namespace, by name.
type Addresses map[string][]v1alpha1.Port

// Pod is the template of a revision's pods.
func Pod(app *v1alpha1.App, r Revision, others Addresses) (corev1.PodTemplateSpec, error) {
	r.Spec = Configured(app, r.Spec, r.Own)
	spec := &r.Spec
	env, err := environment(app, r, others)
	if err != nil {
		return corev1.PodTemplateSpec{}, err
	}
	c := corev1.Container{
		Name: ContainerName, Image: r.Image(), Command: spec.Command, Args: spec.Args, WorkingDir: spec.WorkingDir,
		Env: env, EnvFrom: envFrom(app, r), Resources: resources(spec.Resources),
		// What fails tells why in its log; the app's status should say it too.
		TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
	}
	for _, p := range spec.Ports {
		c.Ports = append(c.Ports, corev1.ContainerPort{Name: PortName(p), ContainerPort: p.Port, Protocol: transport(p.Protocol)})
	}
	if spec.User != nil {
		c.SecurityContext = &corev1.SecurityContext{RunAsUser: spec.User}
	}
	volumes, mounts := storage(app, r)
	fileVolumes, fileMounts := files(app, r)
	c.VolumeMounts = append(mounts, fileMounts...)
	token := spec.ServiceAccount != ""
	links := false
	pod := corev1.PodSpec{
		Volumes: append(volumes, fileVolumes...), NodeSelector: spec.NodeSelector, ServiceAccountName: spec.ServiceAccount,
		AutomountServiceAccountToken: &token,
		// Variables for every Service of the namespace would change with their neighbours.
		EnableServiceLinks: &links,
	}
	if Serves(spec) {
		health(spec, &c)
		grace := int64(30)
		if spec.StopTimeout != nil {
			grace = int64(max(spec.StopTimeout.Duration, 0) / time.Second)
		}
		if len(spec.Ports) > 0 {
			c.Lifecycle = &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{Sleep: &corev1.SleepAction{Seconds: drainSeconds}}}
			grace += drainSeconds
		}
		pod.TerminationGracePeriodSeconds = &grace
	} else {
		pod.RestartPolicy = corev1.RestartPolicyNever
		if spec.StopTimeout != nil {
			grace := int64(spec.StopTimeout.Duration / time.Second)
			pod.TerminationGracePeriodSeconds = &grace
		}
	}
	for _, s := range spec.PullSecrets {
		pod.ImagePullSecrets = append(pod.ImagePullSecrets, corev1.LocalObjectReference{Name: s})
	}
	pod.Containers = []corev1.Container{c}
	return corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: Labels(app, r.Name)}, Spec: pod}, nil
}

func environment(app *v1alpha1.App, r Revision, others Addresses) ([]corev1.EnvVar, error) {
	var out []corev1.EnvVar
	for _, e := range r.Spec.Env {
		v := corev1.EnvVar{Name: e.Name, Value: e.Value}
		switch {
		case e.From == nil:
		case e.From.ConfigMap != nil:
			k := e.From.ConfigMap
			v.ValueFrom = &corev1.EnvVarSource{ConfigMapKeyRef: &corev1.ConfigMapKeySelector{
				LocalObjectReference: corev1.LocalObjectReference{Name: FrozenName(app, r.Name, k.Name)}, Key: k.Key, Optional: optional(k)}}
		case e.From.Secret != nil:
			k := e.From.Secret
			v.ValueFrom = &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{
				LocalObjectReference: corev1.LocalObjectReference{Name: FrozenName(app, r.Name, k.Name)}, Key: k.Key, Optional: optional(k)}}
		case e.From.App != nil:
			value, err := address(app.Namespace, e.From.App, others)
			if err != nil {
				return nil, fmt.Errorf("env %s: %w", e.Name, err)
			}
			v.Value = value
		}
		out = append(out, v)
	}
	return out, nil
}

func optional(k *v1alpha1.KeyRef) *bool {
	if !k.Optional {
		return nil
	}
	return &k.Optional
}

// address is what an app is told of another. The name is the Service's, which
// stays the same through every revision.
func address(namespace string, ref *v1alpha1.AppRef, others Addresses) (string, error) {
	host := ref.Name + "." + namespace
	if ref.Property == "host" {
		return host, nil
	}
	ports, ok := others[ref.Name]
	if !ok {
		return "", fmt.Errorf("there is no app %s", ref.Name)
	}
	p := FindPort(ports, ref.Port)
	if p == nil {
		return "", fmt.Errorf("app %s has no port %s", ref.Name, ref.Port)
	}
	number := strconv.Itoa(int(p.Port))
	switch {
	case ref.Property == "port":
		return number, nil
	case ref.Property == "address":
		return host + ":" + number, nil
	case web(p.Protocol):
		return "http://" + host + ":" + number, nil
	}
	return strings.ToLower(string(p.Protocol)) + "://" + host + ":" + number, nil
}

func envFrom(app *v1alpha1.App, r Revision) []corev1.EnvFromSource {
	var out []corev1.EnvFromSource
	for _, e := range r.Spec.EnvFrom {
		s := corev1.EnvFromSource{Prefix: e.Prefix}
		if e.ConfigMap != "" {
			s.ConfigMapRef = &corev1.ConfigMapEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: FrozenName(app, r.Name, e.ConfigMap)}}
		} else {
			s.SecretRef = &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: FrozenName(app, r.Name, e.Secret)}}
		}
		out = append(out, s)
	}
	return out
}

func resources(r v1alpha1.Resources) corev1.ResourceRequirements {
	out := corev1.ResourceRequirements{}
	set := func(to *corev1.ResourceList, name corev1.ResourceName, q *resource.Quantity) {
		if q == nil {
			return
		}
		if *to == nil {
			*to = corev1.ResourceList{}
		}
		(*to)[name] = *q
	}
	set(&out.Requests, corev1.ResourceCPU, r.CPU)
	set(&out.Requests, corev1.ResourceMemory, r.Memory)
	set(&out.Limits, corev1.ResourceCPU, r.Limits.CPU)
	set(&out.Limits, corev1.ResourceMemory, r.Limits.Memory)
	for name, q := range r.Other {
		// Devices must be asked for and limited alike.
		set(&out.Requests, corev1.ResourceName(name), &q)
		set(&out.Limits, corev1.ResourceName(name), &q)
	}
	return out
}

func health(spec *v1alpha1.AppSpec, c *corev1.Container) {
	first := int32(0)
	if i := slices.IndexFunc(spec.Ports, func(p v1alpha1.Port) bool { return p.Protocol != v1alpha1.UDP }); i >= 0 {
		first = spec.Ports[i].Port
	}
	ready := spec.Health.Readiness
	if ready == nil && first != 0 {
		// A process that has started is not yet one that listens.
		ready = &v1alpha1.Check{TCP: &v1alpha1.PortCheck{}}
	}
	c.ReadinessProbe = probe(ready, first, time.Second, 3)
	c.LivenessProbe = probe(spec.Health.Liveness, first, 10*time.Second, 3)
	c.StartupProbe = probe(spec.Health.Startup, first, time.Second, 60)
}

func probe(c *v1alpha1.Check, first int32, interval time.Duration, failures int32) *corev1.Probe {
	if c == nil {
		return nil
	}
	port := func(p int32) int32 {
		if p == 0 {
			return first
		}
		return p
	}
	seconds := func(d *metav1.Duration, other time.Duration) int32 {
		if d != nil {
			other = d.Duration
		}
		return int32((other + time.Second - 1) / time.Second)
	}
	p := &corev1.Probe{
		InitialDelaySeconds: seconds(c.Delay, 0), PeriodSeconds: max(1, seconds(c.Interval, interval)),
		TimeoutSeconds: max(1, seconds(c.Timeout, time.Second)), FailureThreshold: failures, SuccessThreshold: 1,
	}
	if c.Failures > 0 {
		p.FailureThreshold = c.Failures
	}
	switch {
	case c.HTTP != nil:
		get := &corev1.HTTPGetAction{Path: c.HTTP.Path, Port: intstr.FromInt32(port(c.HTTP.Port)), Scheme: corev1.URISchemeHTTP}
		for _, name := range sortedKeys(c.HTTP.Headers) {
			get.HTTPHeaders = append(get.HTTPHeaders, corev1.HTTPHeader{Name: name, Value: c.HTTP.Headers[name]})
		}
		p.HTTPGet = get
	case c.TCP != nil:
		p.TCPSocket = &corev1.TCPSocketAction{Port: intstr.FromInt32(port(c.TCP.Port))}
	case c.GRPC != nil:
		p.GRPC = &corev1.GRPCAction{Port: port(c.GRPC.Port)}
	case c.Exec != nil:
		p.Exec = &corev1.ExecAction{Command: c.Exec.Command}
	}
	return p
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
