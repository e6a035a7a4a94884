package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/sampan-cloud/sampan/api/client"
	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// deployment of apps: what the flags say beside the shipment itself.
type deployFlags struct {
	files    []string
	profiles []string
	wait     bool
	timeout  time.Duration
	dryRun   bool
}

func (a *app) deploy() *cobra.Command {
	var s shipment
	var d deployFlags
	c := a.command("deploy [NAME] [-- ARGUMENT…]", "deploy", cobra.ArbitraryArgs, func(ctx context.Context, args []string) error {
		if len(d.files) > 0 {
			if len(args) > 0 || s.given() {
				return fmt.Errorf("%s: %w", a.text.get("deploy.both"), fault.Invalid)
			}
			return a.deployFiles(ctx, d)
		}
		if len(args) == 0 {
			return fmt.Errorf("%s: %w", a.text.get("deploy.what"), fault.Invalid)
		}
		s.name, s.args = args[0], args[1:]
		return a.deployOne(ctx, s, d)
	})
	f := c.Flags()
	s.set, s.text = f.Changed, a.text
	f.StringVar(&s.image, "image", "", a.text.get("deploy.image"))
	f.StringArrayVar(&s.ports, "port", nil, a.text.get("deploy.port"))
	f.StringArrayVarP(&s.env, "env", "e", nil, a.text.get("deploy.env"))
	f.StringVar(&s.cpu, "cpu", "", a.text.get("deploy.cpu"))
	f.StringVar(&s.memory, "memory", "", a.text.get("deploy.memory"))
	f.IntVar(&s.replicas, "replicas", 0, a.text.get("deploy.replicas"))
	f.IntVar(&s.min, "min", 0, a.text.get("deploy.min"))
	f.IntVar(&s.max, "max", 0, a.text.get("deploy.max"))
	f.StringArrayVar(&s.hosts, "host", nil, a.text.get("deploy.host"))
	f.StringVar(&s.kind, "kind", "", a.text.get("deploy.kind"))
	f.StringVar(&s.schedule, "schedule", "", a.text.get("deploy.schedule"))
	f.StringVar(&s.strategy, "strategy", "", a.text.get("deploy.strategy"))
	f.StringVar(&s.steps, "steps", "", a.text.get("deploy.steps"))
	f.StringVar(&s.cause, "cause", "", a.text.get("deploy.cause"))
	f.StringArrayVarP(&d.files, "file", "f", nil, a.text.get("deploy.file"))
	f.StringArrayVar(&d.profiles, "profile", nil, a.text.get("deploy.profile"))
	f.BoolVar(&d.wait, "wait", true, a.text.get("deploy.wait"))
	f.DurationVar(&d.timeout, "timeout", 10*time.Minute, a.text.get("deploy.timeout"))
	f.BoolVar(&d.dryRun, "dry-run", false, a.text.get("deploy.dryrun"))
	return c
}

// deployOne makes or changes one app by flags. What no flag names stays as it
// is: the whole spec is read, changed and applied, on condition that nobody
// else has changed it meanwhile.
func (a *app) deployOne(ctx context.Context, s shipment, d deployFlags) error {
	k, err := a.kube()
	if err != nil {
		return err
	}
	for {
		o, fresh, err := s.object(ctx, k)
		if err != nil {
			return a.deployError(err, s.flag)
		}
		if fresh && s.image == "" {
			return fmt.Errorf("%s: %w", a.text.get("deploy.noimage", s.name), fault.Invalid)
		}
		if d.dryRun {
			return a.printObjects([]object{o})
		}
		var made client.App
		err = k.Apply(ctx, client.AppPath(k.Namespace, s.name), o, &made)
		if fault.Of(err) == fault.Exists && !fresh {
			continue // changed by another between our look and our word
		}
		if err != nil {
			return a.deployError(err, s.flag)
		}
		return a.deployed(ctx, k, []client.App{made}, d)
	}
}

// deployed follows apps that were just applied, and says where they are.
func (a *app) deployed(ctx context.Context, k *client.Kube, apps []client.App, d deployFlags) error {
	if !d.wait {
		for _, made := range apps {
			fmt.Fprintln(a.Out, made.Name)
		}
		return nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, d.timeout,
		fmt.Errorf("%s: %w", a.text.get("deploy.slow", d.timeout), fault.Timeout))
	defer cancel()
	settled, err := a.awaitApps(ctx, k, apps, 0)
	for _, s := range settled {
		a.printDeployed(s)
	}
	return err
}

// printDeployed says where an app is, or what it waits for.
func (a *app) printDeployed(s client.App) {
	r := s.Status.Rollout
	switch {
	case r != nil && r.Paused != "":
		fmt.Fprintln(a.Out, a.text.get("deploy.paused", s.Name, r.Revision, r.Weight, s.Name, s.Name))
	case s.Status.URL != "":
		fmt.Fprintln(a.Out, s.Status.URL)
	default:
		fmt.Fprintln(a.Out, a.text.get("deploy.nourl", s.Name, a.state(&s)))
	}
	if c := s.Condition("RouteConflict"); c.Status == "True" {
		fmt.Fprintln(a.Err, c.Message)
	}
}
