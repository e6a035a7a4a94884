package cli

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sampan-cloud/sampan/api/catalog"
	"github.com/sampan-cloud/sampan/api/client"
	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// registration is what `sampan service register` is told.
type registration struct {
	id, address, check    string
	ports, tags, meta     []string
	ttl, interval, remove time.Duration
	timeout               time.Duration
	failures              int
	headless, hold        bool
}

func (a *app) serviceRegister() *cobra.Command {
	var r registration
	var c *cobra.Command
	c = a.command("register NAME", "service.register", cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
		inst, err := a.instance(&r)
		if err != nil {
			return err
		}
		if c.Flags().Changed("headless") {
			inst.Headless = &r.headless
		}
		k, err := a.kube()
		if err != nil {
			return err
		}
		var out catalog.Instance
		if err := k.Put(ctx, catalog.InstancePath(k.Namespace, args[0], inst.ID), inst, &out); err != nil {
			return err
		}
		if err := a.print(out, func() { fmt.Fprintln(a.Out, a.text.get("service.registered", args[0]+"."+k.Namespace, out.ID)) }); err != nil {
			return err
		}
		if r.hold {
			return a.hold(ctx, k, args[0], inst)
		}
		return nil
	})
	f := c.Flags()
	f.StringVar(&r.address, "address", "", a.text.get("service.flag.address"))
	f.StringArrayVar(&r.ports, "port", nil, a.text.get("service.flag.port"))
	f.StringVar(&r.id, "id", "", a.text.get("service.flag.id"))
	f.StringVar(&r.check, "check", "", a.text.get("service.flag.check"))
	f.DurationVar(&r.interval, "interval", 0, a.text.get("service.flag.interval"))
	f.DurationVar(&r.timeout, "timeout", 0, a.text.get("service.flag.timeout"))
	f.IntVar(&r.failures, "failures", 0, a.text.get("service.flag.failures"))
	f.DurationVar(&r.ttl, "ttl", 0, a.text.get("service.flag.ttl"))
	f.DurationVar(&r.remove, "remove-after", 0, a.text.get("service.flag.remove"))
	f.BoolVar(&r.headless, "headless", false, a.text.get("service.flag.headless"))
	f.StringArrayVar(&r.tags, "tag", nil, a.text.get("service.flag.tag"))
	f.StringArrayVar(&r.meta, "meta", nil, a.text.get("service.flag.meta"))
	f.BoolVar(&r.hold, "hold", false, a.text.get("service.flag.hold"))
	return a.outputFlag(c)
}

// defaultTTL is that of an instance whose command line stays with it.
const defaultTTL = 10 * time.Second

// instance makes an instance of the flags. What they mean the API judges.
func (a *app) instance(r *registration) (catalog.Instance, error) {
	if r.hold && r.ttl == 0 {
		r.ttl = defaultTTL
	}
	i := catalog.Instance{
		ID: r.id, Address: r.address, Tags: r.tags,
		TTL: catalog.Duration(r.ttl), RemoveAfter: catalog.Duration(r.remove),
	}
	for _, s := range r.ports {
		p, err := readPort(s)
		if err != nil {
			return i, fmt.Errorf("%s: %w", a.text.get("service.badport", s), fault.Invalid)
		}
		i.Ports = append(i.Ports, p)
	}
	for _, s := range r.meta {
		k, v, ok := strings.Cut(s, "=")
		if !ok || k == "" {
			return i, fmt.Errorf("%s: %w", a.text.get("service.badmeta", s), fault.Invalid)
		}
		if i.Meta == nil {
			i.Meta = map[string]string{}
		}
		i.Meta[k] = v
	}
	if r.check != "" {
		check, err := readCheck(r.check)
		if err != nil {
			return i, fmt.Errorf("%s: %w", a.text.get("service.badcheck", r.check), fault.Invalid)
		}
		check.Interval, check.Timeout, check.Failures = catalog.Duration(r.interval), catalog.Duration(r.timeout), r.failures
		i.Check = check
	}
	if i.ID == "" && len(i.Ports) > 0 {
		// The same process gets the same ID each time.
		i.ID = identifier(fmt.Sprintf("%s-%d", i.Address, i.Ports[0].Port))
	}
	if i.ID == "" {
		return i, fmt.Errorf("%s: %w", a.text.get("service.noport"), fault.Invalid)
	}
	return i, nil
}

// identifier makes a DNS label of an address and a port.
func identifier(s string) string {
	s = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, strings.ToLower(s))
	return strings.Trim(s[max(0, len(s)-63):], "-")
}

// readPort reads [NAME=][SERVICEPORT:]PORT[/PROTOCOL].
func readPort(s string) (catalog.Port, error) {
	var p catalog.Port
	name, rest, named := strings.Cut(s, "=")
	if !named {
		name, rest = "", s
	}
	p.Name = name
	rest, p.Protocol, _ = strings.Cut(rest, "/")
	outer, inner, both := strings.Cut(rest, ":")
	if !both {
		outer, inner = "", rest
	}
	n, err := strconv.ParseUint(inner, 10, 16)
	if err != nil {
		return p, err
	}
	p.Port = int(n)
	if outer != "" {
		if n, err = strconv.ParseUint(outer, 10, 16); err != nil {
			return p, err
		}
		p.ServicePort = int(n)
	}
	return p, nil
}

// readCheck reads tcp, tcp:PORT, http:/PATH, https:/PATH, and URLs such as
// http://HOST:PORT/PATH, where the host is the Host header.
func readCheck(s string) (*catalog.Check, error) {
	kind, rest, _ := strings.Cut(s, ":")
	var err error
	port := func(s string) int {
		if s == "" {
			return 0
		}
		n, bad := strconv.ParseUint(s, 10, 16)
		err = bad
		return int(n)
	}
	switch {
	case kind == "tcp":
		c := &catalog.Check{TCP: true, Port: port(rest)}
		return c, err
	case kind != "http" && kind != "https":
		return nil, fault.Invalid
	case !strings.HasPrefix(rest, "//"):
		return &catalog.Check{HTTP: rest, HTTPS: kind == "https"}, nil
	}
	u, err := url.Parse(s)
	if err != nil {
		return nil, err
	}
	return &catalog.Check{HTTP: u.RequestURI(), HTTPS: kind == "https", Host: u.Hostname(), Port: port(u.Port())}, err
}

// leaving is how long taking an instance out may take when the command ends.
const leaving = 5 * time.Second

// hold sends heartbeats until the command is told to end, and takes the instance
// out then. One that the cloud has forgotten meanwhile is registered again.
func (a *app) hold(ctx context.Context, k *client.Kube, service string, inst catalog.Instance) error {
	tick := time.NewTicker(time.Duration(inst.TTL) / 3)
	defer tick.Stop()
	var last error
	for {
		select {
		case <-ctx.Done():
			end, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaving)
			defer cancel()
			return k.Delete(end, catalog.InstancePath(k.Namespace, service, inst.ID))
		case <-tick.C:
		}
		err := k.Put(ctx, catalog.HeartbeatPath(k.Namespace, service, inst.ID), nil, nil)
		if fault.Of(err) == fault.NotFound {
			err = k.Put(ctx, catalog.InstancePath(k.Namespace, service, inst.ID), inst, nil)
		}
		if err != nil && last == nil && ctx.Err() == nil {
			fmt.Fprintln(a.Err, a.text.get("service.nobeat", err)) // once, not at each beat
		}
		last = err
	}
}
