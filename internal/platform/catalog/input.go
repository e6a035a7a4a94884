package catalog

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"

	api "github.com/sampan-cloud/sampan/api/catalog"
	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// Limits of what is registered.
const (
	shortest    = time.Second // of intervals and TTLs: more would be load, not news
	longest     = 24 * time.Hour
	maxPorts    = 32
	maxMeta     = 4096 // bytes of tags and meta together; they are kept in the API
	maxFailures = 100

	defaultInterval = 5 * time.Second
	defaultTimeout  = 2 * time.Second
)

// inputError is what is wrong with one field of what was sent.
type inputError struct {
	field, message string
	kind           fault.Kind
}

func (e *inputError) Error() string { return e.field + ": " + e.message }
func (e *inputError) Unwrap() error { return e.kind }

// input collects what is wrong with an instance.
type input struct{ errs []error }

func (in *input) wrong(field, format string, args ...any) {
	in.errs = append(in.errs, &inputError{field, fmt.Sprintf(format, args...), fault.Invalid})
}

// complete fills in what was left out of inst and tells all that is wrong with
// it. Addresses behind a DNS name are looked at when it is resolved.
func (c Config) complete(ref Ref, inst *api.Instance) error {
	in := &input{}
	if bad := validation.IsDNS1035Label(ref.Service); len(bad) > 0 {
		in.wrong("name", "%q cannot be a service's: it is a DNS label of lower case letters, digits and -, beginning with a letter, of at most 63 characters", ref.Service)
	}
	if bad := validation.IsDNS1123Label(ref.ID); len(bad) > 0 {
		in.wrong("id", "%q is not a DNS label: lower case letters, digits and -, of at most 63 characters", ref.ID)
	}
	if inst.ID != "" && inst.ID != ref.ID {
		in.wrong("id", "%q is not the %q of the path", inst.ID, ref.ID)
	}
	inst.ID, inst.Status = ref.ID, nil
	if addr, err := netip.ParseAddr(inst.Address); err == nil {
		inst.Address = addr.Unmap().String()
		if err := c.allowed(addr.Unmap()); err != nil {
			in.wrong("address", "%v", err)
		}
	} else {
		in.hostname(inst)
	}
	in.ports(inst)
	in.life(inst)
	size := 0
	for _, t := range inst.Tags {
		size += len(t)
	}
	for k, v := range inst.Meta {
		size += len(k) + len(v)
		if k == "" {
			in.wrong("meta", "has an empty key")
		}
	}
	if size > maxMeta {
		in.wrong("meta", "with tags has %d bytes, at most %d are kept", size, maxMeta)
	}
	return errors.Join(in.errs...)
}

func (in *input) hostname(inst *api.Instance) {
	name := strings.TrimSuffix(strings.ToLower(inst.Address), ".")
	switch {
	case inst.Address == "":
		in.wrong("address", "is missing: an IP address or a DNS name")
	case len(validation.IsDNS1123Subdomain(name)) > 0 || looksLikeAddress(name):
		in.wrong("address", "%q is neither an IP address nor a DNS name", inst.Address)
	case name == "localhost" || strings.HasSuffix(name, ".localhost"):
		in.wrong("address", "%q is this machine to everybody who asks", inst.Address)
	default:
		inst.Address = name
	}
}

// looksLikeAddress tells 10.0.0 and 10.0.0.300 from names: no top domain is a
// number.
func looksLikeAddress(name string) bool {
	last := name[strings.LastIndexByte(name, '.')+1:]
	return strings.Trim(last, "0123456789") == ""
}

// allowed tells why an address may not be an instance's: it would lead to
// somebody else than who registered it, or round in circles.
func (c Config) allowed(a netip.Addr) error {
	switch {
	case a.Zone() != "":
		return fmt.Errorf("%s has a zone, which means something on one machine only", a)
	case a.IsUnspecified():
		return fmt.Errorf("%s is nobody's: give one that others reach the process at", a)
	case a.IsLoopback():
		return fmt.Errorf("%s is loopback, another machine to everybody who asks: give one that others reach the process at", a)
	case a.IsLinkLocalUnicast():
		return fmt.Errorf("%s is link-local and cannot be reached from everywhere in the cluster", a)
	case a.IsMulticast() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return fmt.Errorf("%s is not the address of one machine", a)
	case c.ServiceCIDR.Contains(a):
		return fmt.Errorf("%s is the address of a Service (network.serviceCIDR %s): name that Service instead", a, c.ServiceCIDR)
	case c.PodCIDR.Contains(a):
		return fmt.Errorf("%s is a pod's (network.podCIDR %s) and goes to another one when it ends: select the pod by a Service", a, c.PodCIDR)
	}
	return nil
}

func (in *input) ports(inst *api.Instance) {
	field := func(i int, name string) string { return fmt.Sprintf("ports[%d].%s", i, name) }
	switch {
	case inst.Port != 0 && len(inst.Ports) > 0:
		in.wrong("port", "is given beside ports: give one of them")
		return
	case inst.Port != 0:
		inst.Ports = []api.Port{{Port: inst.Port}}
		inst.Port = 0
		field = func(_ int, name string) string { return name }
	case len(inst.Ports) == 0:
		in.wrong("port", "is missing")
	case len(inst.Ports) > maxPorts:
		in.wrong("ports", "are %d, at most %d can be", len(inst.Ports), maxPorts)
		return
	}
	seen := map[string]bool{}
	for i := range inst.Ports {
		p := &inst.Ports[i]
		p.Protocol = strings.ToUpper(p.Protocol)
		if p.Protocol == "" {
			p.Protocol = "TCP"
		}
		if !slices.Contains([]string{"TCP", "UDP", "SCTP"}, p.Protocol) {
			in.wrong(field(i, "protocol"), "%q is not TCP, UDP or SCTP", p.Protocol)
		}
		if p.Port < 1 || p.Port > 65535 {
			in.wrong(field(i, "port"), "%d is not a port: 1 to 65535", p.Port)
		}
		if p.ServicePort < 0 || p.ServicePort > 65535 {
			in.wrong(field(i, "servicePort"), "%d is not a port: 1 to 65535", p.ServicePort)
		}
		if p.AppProtocol != "" && len(validation.IsQualifiedName(p.AppProtocol)) > 0 {
			in.wrong(field(i, "appProtocol"), "%q is not one such as http, h2c or https", p.AppProtocol)
		}
		switch {
		case p.Name == "" && len(inst.Ports) > 1:
			in.wrong(field(i, "name"), "is missing: of several ports each has one")
		case p.Name != "" && len(validation.IsValidPortName(p.Name)) > 0:
			in.wrong(field(i, "name"), "%q is not a port's name: at most 15 lower case letters, digits and -, with a letter", p.Name)
		case seen[p.Name]:
			in.wrong(field(i, "name"), "%q is there twice", p.Name)
		}
		seen[p.Name] = true
	}
}

// life completes how it is told that the instance lives.
func (in *input) life(inst *api.Instance) {
	span := func(field string, d api.Duration) {
		if d != 0 && (time.Duration(d) < shortest || time.Duration(d) > longest) {
			in.wrong(field, "%s is not between %s and %s", d, api.Duration(shortest), api.Duration(longest))
		}
	}
	span("ttl", inst.TTL)
	span("removeAfter", inst.RemoveAfter)
	if inst.RemoveAfter == 0 && inst.TTL != 0 {
		inst.RemoveAfter = max(10*inst.TTL, api.Duration(time.Minute))
	}
	c := inst.Check
	if c == nil {
		return
	}
	switch {
	case c.HTTP != "" && c.TCP:
		in.wrong("check", "has http and tcp: give one of them")
	case c.HTTP == "" && !c.TCP:
		in.wrong("check", "has neither http, a path, nor tcp")
	case c.HTTP != "" && (!strings.HasPrefix(c.HTTP, "/") || strings.ContainsAny(c.HTTP, " \r\n#")):
		in.wrong("check.http", "%q is not a path such as /health", c.HTTP)
	case c.TCP && (c.HTTPS || c.Host != ""):
		in.wrong("check", "of tcp has neither https nor host")
	}
	if strings.ContainsAny(c.Host, " \r\n/") {
		in.wrong("check.host", "%q is not a host", c.Host)
	}
	if c.Port < 0 || c.Port > 65535 {
		in.wrong("check.port", "%d is not a port: 1 to 65535", c.Port)
	}
	if c.Port == 0 && len(inst.Ports) > 0 {
		if c.Port = inst.Ports[0].Port; inst.Ports[0].Protocol != "TCP" {
			in.wrong("check.port", "is missing: the first port speaks %s, a check TCP", inst.Ports[0].Protocol)
		}
	}
	span("check.interval", c.Interval)
	if c.Interval == 0 {
		c.Interval = api.Duration(defaultInterval)
	}
	if c.Timeout == 0 {
		c.Timeout = min(c.Interval, api.Duration(defaultTimeout))
	}
	if c.Timeout < 0 || c.Timeout > c.Interval {
		in.wrong("check.timeout", "%s is not between 0s and the interval, %s", c.Timeout, c.Interval)
	}
	if c.Failures < 0 || c.Failures > maxFailures {
		in.wrong("check.failures", "%d is not between 1 and %d", c.Failures, maxFailures)
	}
	c.Failures = max(c.Failures, 1)
}
