package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/sampan-cloud/sampan/api/client"
	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// workload is what `sampan run` makes: a Deployment and, with a port, a Service
// of the same name.
type workload struct {
	name, image string
	args        []string
	env         []string
	port        int
	publish     int
	replicas    int
	cpu, memory string
}

// object is JSON that is sent to the API as it stands.
type object = map[string]any

// deployment describes the pods. They get no token for the API: hardly any app
// needs one, and waiting for it is most of what a start would take.
func (w workload) deployment(t text) (object, error) {
	c := object{"name": w.name, "image": w.image, "imagePullPolicy": "IfNotPresent"}
	if len(w.args) > 0 {
		c["args"] = w.args
	}
	var env []object
	for _, e := range w.env {
		key, value, ok := strings.Cut(e, "=")
		if !ok || key == "" {
			return nil, fmt.Errorf("%s: %w", t.get("run.badenv", e), fault.Invalid)
		}
		env = append(env, object{"name": key, "value": value})
	}
	if env != nil {
		c["env"] = env
	}
	if w.port > 0 {
		c["ports"] = []object{{"containerPort": w.port}}
		c["readinessProbe"] = object{"tcpSocket": object{"port": w.port}, "periodSeconds": 1, "failureThreshold": 1}
	}
	limits := object{}
	if w.cpu != "" {
		limits["cpu"] = w.cpu
	}
	if w.memory != "" {
		limits["memory"] = w.memory
	}
	if len(limits) > 0 {
		c["resources"] = object{"limits": limits, "requests": limits}
	}
	labels := w.labels()
	return object{
		"apiVersion": "apps/v1", "kind": "Deployment",
		"metadata": object{"name": w.name, "labels": labels},
		"spec": object{
			"replicas": w.replicas,
			"selector": object{"matchLabels": object{client.LabelName: w.name}},
			"template": object{
				"metadata": object{"labels": labels},
				"spec":     object{"automountServiceAccountToken": false, "containers": []object{c}},
			},
		},
	}, nil
}

// service gives the pods one address, and a port on every node.
func (w workload) service(external string) object {
	spec := object{
		"type":     "NodePort",
		"selector": object{client.LabelName: w.name},
		"ports":    []object{{"port": w.port, "targetPort": w.port}},
	}
	if w.publish > 0 {
		spec["externalIPs"] = []string{external}
		spec["ports"] = []object{{"port": w.publish, "targetPort": w.port}}
	}
	return object{"apiVersion": "v1", "kind": "Service", "metadata": object{"name": w.name, "labels": w.labels()}, "spec": spec}
}

func (w workload) labels() object {
	return object{client.LabelName: w.name, client.LabelManagedBy: client.ManagedBy}
}

// create makes both, or neither.
func (w workload) create(ctx context.Context, k *client.Kube, t text) (address string, err error) {
	d, err := w.deployment(t)
	if err != nil {
		return "", err
	}
	if err := k.Create(ctx, client.DeploymentPath(k.Namespace, ""), d, nil); err != nil {
		return "", err
	}
	if w.port == 0 {
		return "", nil
	}
	host, err := nodeAddress(ctx, k, t)
	var s client.Service
	if err == nil {
		err = k.Create(ctx, client.ServicePath(k.Namespace, ""), w.service(host), &s)
	}
	if err != nil {
		return "", errors.Join(err, w.remove(ctx, k))
	}
	return serviceURL(s, host), nil
}

// remove takes back what create made. The user may have interrupted; half an app
// must still go.
func (w workload) remove(ctx context.Context, k *client.Kube) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	var errs []error
	for _, path := range []string{client.DeploymentPath(k.Namespace, w.name), client.ServicePath(k.Namespace, w.name)} {
		if err := k.Delete(ctx, path); fault.Of(err) != fault.NotFound {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// serviceURL is where a service answers from outside, or empty.
func serviceURL(s client.Service, host string) string {
	if len(s.Spec.Ports) == 0 {
		return ""
	}
	port := s.Spec.Ports[0].NodePort
	if len(s.Spec.ExternalIPs) > 0 {
		host, port = s.Spec.ExternalIPs[0], s.Spec.Ports[0].Port
	}
	if port == 0 || host == "" {
		return ""
	}
	if port == 80 {
		return "http://" + host
	}
	return "http://" + net.JoinHostPort(host, strconv.Itoa(port))
}

// nodeAddress is an address by which the cloud is reached.
func nodeAddress(ctx context.Context, k *client.Kube, t text) (string, error) {
	var nodes client.Items[client.KubeNode]
	if err := k.Get(ctx, client.NodePath(""), &nodes); err != nil {
		return "", err
	}
	for _, n := range nodes.Items {
		for _, a := range n.Status.Addresses {
			if a.Type == "InternalIP" {
				return a.Address, nil
			}
		}
	}
	return "", fmt.Errorf("%s: %w", t.get("run.nonode"), fault.NotFound)
}

// awaitRollout follows a Deployment or StatefulSet until all its copies serve. A
// copy that cannot start ends the wait with the reason.
func (a *app) awaitRollout(ctx context.Context, k *client.Kube, t target) error {
	p := a.progress()
	defer p.close()
	began := time.Now()
	p.step("rollout", a.text.get("run.wait", t.name))
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		for tick := time.NewTicker(time.Second); ; {
			select {
			case <-ctx.Done():
				tick.Stop()
				return
			case <-tick.C:
				if err := a.stuck(ctx, k, t); err != nil {
					cancel(err)
				}
			}
		}
	}()
	var err error
	for done := false; !done && err == nil; {
		// A server may close a watch at any time.
		err = k.Watch(ctx, client.Named(client.WorkloadPath(t.kind, k.Namespace, ""), t.name), func(change string, raw json.RawMessage) bool {
			var w client.Workload
			if json.Unmarshal(raw, &w) != nil || w.Spec.Replicas == nil {
				return change != "ERROR"
			}
			if change == "DELETED" {
				cancel(fmt.Errorf("%s: %w", a.text.get("find.none", t.name, k.Namespace), fault.NotFound))
				return false
			}
			wanted, s := *w.Spec.Replicas, w.Status
			p.note("rollout", fmt.Sprintf("%d/%d", s.ReadyReplicas, wanted))
			done = s.ObservedGeneration >= w.Generation && s.ReadyReplicas >= wanted && s.UpdatedReplicas >= wanted
			return !done
		})
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
	}
	p.done("rollout", time.Since(began), err)
	return err
}

// errHopeless marks a failure that time does not mend: the app cannot have run.
var errHopeless = errors.New("cannot start")

// crashes is after how many ends of its process a copy is not waited for.
const crashes = 2

// stuck returns why a copy of the app cannot start, once that is certain.
func (a *app) stuck(ctx context.Context, k *client.Kube, t target) error {
	pods, err := podsOf(ctx, k, t.selector)
	if err != nil {
		return nil // the watch itself will tell
	}
	for _, p := range pods {
		for _, c := range p.Status.Conditions {
			if c.Type == "PodScheduled" && c.Reason == "Unschedulable" {
				return fmt.Errorf("%s: %s: %w", p.Name, c.Message, fault.Exhausted)
			}
		}
		for _, c := range p.Status.ContainerStatuses {
			if err := a.hopeless(t.name, c); err != nil {
				return fmt.Errorf("%s: %w: %w", p.Name, err, fault.Precondition)
			}
		}
	}
	return nil
}

// hopeless returns why a container will not run, if that is certain.
func (a *app) hopeless(app string, c client.ContainerStatus) error {
	if w := c.State.Waiting; w != nil {
		switch w.Reason {
		case "ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull":
			return fmt.Errorf("%w: %s: %s", errHopeless, w.Reason, w.Message)
		case "CreateContainerConfigError", "CreateContainerError", "RunContainerError", "CrashLoopBackOff":
			return fmt.Errorf("%s: %s (%s)", w.Reason, w.Message, a.text.get("run.look", app, app))
		}
	}
	if t := c.State.Terminated; t != nil && c.RestartCount >= crashes {
		return fmt.Errorf("%s (%s)", a.text.get("run.ended", c.RestartCount+1, t.ExitCode), a.text.get("run.look", app, app))
	}
	return nil
}

func podsOf(ctx context.Context, k *client.Kube, selector string) ([]client.Pod, error) {
	var pods client.Items[client.Pod]
	err := k.Get(ctx, client.SelectingAll(client.PodPath(k.Namespace, ""), selector), &pods)
	return pods.Items, err
}
