package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sampan-cloud/sampan/api/catalog"
	"github.com/sampan-cloud/sampan/internal/base/fault"
)

func (a *app) serviceShow() *cobra.Command {
	return a.outputFlag(a.command("show NAME", "service.show", cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
		k, err := a.kube()
		if err != nil {
			return err
		}
		var s catalog.Service
		if err := k.Get(ctx, catalog.ServicePath(k.Namespace, args[0]), &s); err != nil {
			if fault.Of(err) == fault.NotFound {
				return fmt.Errorf("%s: %w", a.text.get("service.none", args[0], k.Namespace), fault.NotFound)
			}
			return err
		}
		return a.print(s, func() { a.showService(&s) })
	}))
}

func (a *app) showService(s *catalog.Service) {
	address := s.Address
	if s.Headless {
		address = a.text.get("service.headless")
	}
	fmt.Fprintf(a.Out, "%s.%s   %s   %s\n", s.Name, s.Namespace, address, portsOf(s.Ports))
	head := func(column string) string { return a.text.get("service.column." + column) }
	t := a.table(head("id"), head("address"), head("ports"), head("state"), head("since"), head("check"), head("why"))
	for _, i := range s.Instances {
		t.row(i.ID, i.Address, portsOf(i.Ports), a.text.get("service.state."+string(i.Status.State)), age(i.Status.Since), checkOf(&i), i.Status.Message)
	}
	t.flush()
}

// checkOf says how it is known that an instance lives.
func checkOf(i *catalog.Instance) string {
	var out []string
	if i.TTL > 0 {
		out = append(out, "ttl "+i.TTL.String())
	}
	if c := i.Check; c != nil {
		kind := "tcp"
		if c.HTTP != "" {
			kind = "http"
			if c.HTTPS {
				kind = "https"
			}
			kind += " " + c.HTTP
		}
		out = append(out, kind+" "+c.Interval.String())
	}
	return strings.Join(out, ", ")
}

func portsOf(ports []catalog.Port) string {
	var out []string
	for _, p := range ports {
		s := fmt.Sprint(p.Port)
		if p.Name != "" {
			s = p.Name + "=" + s
		}
		if p.Protocol != "" && p.Protocol != "TCP" {
			s += "/" + strings.ToLower(p.Protocol)
		}
		out = append(out, s)
	}
	return strings.Join(out, ",")
}

func (a *app) serviceRemove() *cobra.Command {
	c := a.command("rm NAME [ID…]", "service.rm", cobra.MinimumNArgs(1), func(ctx context.Context, args []string) error {
		k, err := a.kube()
		if err != nil {
			return err
		}
		if len(args) == 1 {
			if err := k.Delete(ctx, catalog.ServicePath(k.Namespace, args[0])); err != nil {
				return err
			}
			fmt.Fprintln(a.Out, args[0])
		}
		for _, id := range args[1:] {
			if err := k.Delete(ctx, catalog.InstancePath(k.Namespace, args[0], id)); err != nil {
				return err
			}
			fmt.Fprintln(a.Out, id)
		}
		return nil
	})
	c.Aliases = []string{"deregister"}
	return c
}

func (a *app) serviceBeat() *cobra.Command {
	var b catalog.Heartbeat
	c := a.command("heartbeat NAME ID", "service.heartbeat", cobra.ExactArgs(2), func(ctx context.Context, args []string) error {
		k, err := a.kube()
		if err != nil {
			return err
		}
		return k.Put(ctx, catalog.HeartbeatPath(k.Namespace, args[0], args[1]), b, nil)
	})
	c.Flags().BoolVar(&b.Paused, "pause", false, a.text.get("service.flag.pause"))
	c.Flags().StringVar(&b.Message, "message", "", a.text.get("service.flag.message"))
	return c
}
