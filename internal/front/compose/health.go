package compose

import (
	"strconv"

	"github.com/compose-spec/compose-go/v2/types"

	"github.com/sampan-cloud/sampan/api/v1alpha1"
)

// health turns the check into one for readiness: for compose, too, it says when
// others may begin to use the service, and restarts nothing. Its start period,
// in which failures do not count, therefore needs no counterpart.
func (c *converter) health(at path, s types.ServiceConfig, spec *v1alpha1.AppSpec) {
	h := s.HealthCheck
	if h == nil || h.Disable || len(h.Test) == 0 || h.Test[0] == "NONE" || spec.Kind == v1alpha1.Job {
		return
	}
	at = at.to("healthcheck")
	check := &v1alpha1.Check{Exec: &v1alpha1.ExecCheck{Command: h.Test[1:]}}
	switch h.Test[0] {
	case "CMD":
	case "CMD-SHELL":
		check.Exec.Command = append([]string{"/bin/sh", "-c"}, h.Test[1:]...)
	default:
		c.refuse(at.to("test"), "begins with %q and not with CMD, CMD-SHELL or NONE", h.Test[0])
		return
	}
	if len(h.Test) < 2 {
		c.refuse(at.to("test"), "names no command")
		return
	}
	if h.Interval != nil {
		check.Interval = duration(*h.Interval)
	}
	if h.Timeout != nil {
		check.Timeout = duration(*h.Timeout)
	}
	if h.Retries != nil && *h.Retries > 0 {
		check.Failures = int32(*h.Retries)
	}
	if h.StartInterval != nil {
		c.note(at.to("start_interval"), WhyMeaningless)
	}
	spec.Health.Readiness = check
}

// networks are those of the whole project: a cloud has one, in which all apps
// of a namespace meet.
func (c *converter) networks() {
	for _, name := range sortedKeys(c.project.Networks) {
		n := c.project.Networks[name]
		if name != "default" || n.Internal || n.Driver != "" || len(n.DriverOpts) > 0 || len(n.Ipam.Config) > 0 {
			c.note(path{"networks", name}, WhyNetwork)
		}
	}
}

// serviceNetwork notes what a service wants of a network beside being in it.
func (c *converter) serviceNetwork(at path, service string, n *types.ServiceNetworkConfig) {
	if n == nil {
		return
	}
	for i, alias := range n.Aliases {
		if alias != appName(service) {
			c.note(at.to("aliases", strconv.Itoa(i)), WhyAlias, appName(service))
		}
	}
	for field, given := range map[string]bool{
		"ipv4_address": n.Ipv4Address != "", "ipv6_address": n.Ipv6Address != "", "mac_address": n.MacAddress != "",
		"link_local_ips": len(n.LinkLocalIPs) > 0, "driver_opts": len(n.DriverOpts) > 0, "interface_name": n.InterfaceName != "",
		"priority": n.Priority != 0, "gw_priority": n.GatewayPriority != 0,
	} {
		if given {
			c.note(at.to(field), WhyMeaningless)
		}
	}
}
