package compose

import (
	"strconv"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/sampan-cloud/sampan/api/v1alpha1"
)

// resources are what a copy needs and may use, from the deploy section and from
// the older fields beside it, which win when both are there, as in compose.
func (c *converter) resources(at path, s types.ServiceConfig, spec *v1alpha1.AppSpec) {
	r := &spec.Resources
	if s.Deploy != nil {
		d := at.to("deploy", "resources")
		if l := s.Deploy.Resources.Limits; l != nil {
			if l.NanoCPUs > 0 {
				r.Limits.CPU = processors(float32(l.NanoCPUs))
			}
			if l.MemoryBytes > 0 {
				r.Limits.Memory = bytesOf(l.MemoryBytes)
			}
			if l.Pids != 0 {
				c.note(d.to("limits", "pids"), WhyMeaningless)
			}
		}
		if n := s.Deploy.Resources.Reservations; n != nil {
			if n.NanoCPUs > 0 {
				r.CPU = processors(float32(n.NanoCPUs))
			}
			if n.MemoryBytes > 0 {
				r.Memory = bytesOf(n.MemoryBytes)
			}
			for i, device := range n.Devices {
				c.device(d.to("reservations", "devices", strconv.Itoa(i)), device, spec)
			}
			if len(n.GenericResources) > 0 {
				c.note(d.to("reservations", "generic_resources"), WhyMeaningless)
			}
		}
	}
	if s.CPUS > 0 {
		r.Limits.CPU = processors(s.CPUS)
	}
	if s.MemLimit > 0 {
		r.Limits.Memory = bytesOf(s.MemLimit)
	}
	if s.MemReservation > 0 {
		r.Memory = bytesOf(s.MemReservation)
	}
	for i, gpu := range s.Gpus {
		c.device(at.to("gpus", strconv.Itoa(i)), gpu, spec)
	}
}

// device asks for GPUs by the name under which device plugins offer them. A
// count of all (-1) has no counterpart: a copy gets a number of them.
func (c *converter) device(at path, d types.DeviceRequest, spec *v1alpha1.AppSpec) {
	name := map[string]string{"nvidia": "nvidia.com/gpu", "": "nvidia.com/gpu", "amd": "amd.com/gpu"}[d.Driver]
	if name == "" || d.Count < 1 || len(d.IDs) > 0 {
		c.note(at, WhyMeaningless)
		return
	}
	if spec.Resources.Other == nil {
		spec.Resources.Other = map[string]resource.Quantity{}
	}
	spec.Resources.Other[name] = *resource.NewQuantity(int64(d.Count), resource.DecimalSI)
}

// deploy is what the deploy section says beside copies and resources.
func (c *converter) deploy(at path, s types.ServiceConfig, spec *v1alpha1.AppSpec) {
	d := s.Deploy
	if d == nil {
		return
	}
	at = at.to("deploy")
	noteIf := func(given bool, why Why, field ...string) {
		if given {
			c.note(at.to(field...), why)
		}
	}
	noteIf(strings.HasPrefix(d.Mode, "global"), WhyMeaningless, "mode")
	noteIf(len(d.Labels) > 0, WhyMeaningless, "labels")
	noteIf(d.EndpointMode != "" && d.EndpointMode != "vip", WhyMeaningless, "endpoint_mode")
	noteIf(d.RollbackConfig != nil, WhyPace, "rollback_config")
	noteIf(len(d.Placement.Preferences) > 0, WhyMeaningless, "placement", "preferences")
	noteIf(d.Placement.MaxReplicas > 0, WhyMeaningless, "placement", "max_replicas_per_node")
	if u := d.UpdateConfig; u != nil {
		noteIf(u.Parallelism != nil, WhyPace, "update_config", "parallelism")
		noteIf(u.Delay != 0, WhyPace, "update_config", "delay")
		noteIf(u.MaxFailureRatio != 0, WhyPace, "update_config", "max_failure_ratio")
		noteIf(u.Order == "stop-first", WhyOrder, "update_config", "order")
		c.judgement(at.to("update_config"), u, spec)
	}
	if p := d.RestartPolicy; p != nil {
		at := at.to("restart_policy")
		job := spec.Kind == v1alpha1.Job
		if p.Condition != "" && p.Condition != "any" && !job {
			c.note(at.to("condition"), WhyRestart)
		}
		switch {
		case p.MaxAttempts != nil && job:
			spec.Retry.Limit = ptr(int32(*p.MaxAttempts))
		case p.MaxAttempts != nil:
			c.note(at.to("max_attempts"), WhyMeaningless)
		}
		if p.Delay != nil {
			c.note(at.to("delay"), WhyMeaningless)
		}
		if p.Window != nil {
			c.note(at.to("window"), WhyMeaningless)
		}
	}
	for i, constraint := range d.Placement.Constraints {
		label, value, ok := strings.Cut(strings.ReplaceAll(constraint, " ", ""), "==")
		if label, ok = nodeLabel(label, ok); !ok {
			c.note(at.to("placement", "constraints", strconv.Itoa(i)), WhyConstraint, constraint)
			continue
		}
		if spec.NodeSelector == nil {
			spec.NodeSelector = map[string]string{}
		}
		spec.NodeSelector[label] = value
	}
}

// judgement is what happens to a bad version. A version is watched and taken
// back by itself, which is compose's rollback.
func (c *converter) judgement(at path, u *types.UpdateConfig, spec *v1alpha1.AppSpec) {
	if spec.Kind == v1alpha1.Job {
		return
	}
	judge := &v1alpha1.Judge{}
	switch u.FailureAction {
	case "rollback":
	case "continue":
		judge.Off = true
	case "pause":
		c.note(at.to("failure_action"), WhyFailure, u.FailureAction)
		return
	default:
		if u.Monitor == 0 {
			return
		}
	}
	if u.Monitor != 0 {
		judge.Window = duration(u.Monitor)
	}
	spec.Rollout = &v1alpha1.Rollout{Judge: judge}
}

// nodeLabel is the label of a node that a constraint of Swarm means.
func nodeLabel(s string, equal bool) (string, bool) {
	if !equal {
		return "", false
	}
	if l, ok := strings.CutPrefix(s, "node.labels."); ok {
		return l, true
	}
	l, ok := map[string]string{
		"node.hostname": "kubernetes.io/hostname", "node.platform.os": "kubernetes.io/os", "node.platform.arch": "kubernetes.io/arch",
	}[s]
	return l, ok
}
