package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sampan-cloud/sampan/api/client"
	"github.com/sampan-cloud/sampan/internal/base/fault"
)

func (a *app) stop() *cobra.Command {
	return a.command("stop NAME…", "stop", cobra.MinimumNArgs(1), a.each(func(ctx context.Context, k *client.Kube, t target) error {
		if t.oneOff != nil {
			n, err := a.node()
			if err != nil {
				return err
			}
			return n.Call(ctx, http.MethodPost, at(t.oneOff.ID, "/stop"), nil, nil)
		}
		_, err := a.setCopies(ctx, k, t, 0, "stop")
		return err
	}))
}

func (a *app) rm() *cobra.Command {
	return a.command("rm NAME…", "rm", cobra.MinimumNArgs(1), a.each(func(ctx context.Context, k *client.Kube, t target) error {
		if t.oneOff != nil {
			n, err := a.node()
			if err != nil {
				return err
			}
			return n.Call(ctx, http.MethodDelete, at(t.oneOff.ID, "?force=true"), nil, nil)
		}
		if err := a.changeable(ctx, k, t, "rm"); err != nil {
			return err
		}
		if err := k.Delete(ctx, client.WorkloadPath(t.kind, k.Namespace, t.name)); err != nil {
			return err
		}
		return removeService(ctx, k, t)
	}))
}

// removeService removes the Service that `sampan run` made beside a Deployment.
func removeService(ctx context.Context, k *client.Kube, t target) error {
	if t.kind != "Deployment" || t.object.Labels[client.LabelManagedBy] != client.ManagedBy {
		return nil
	}
	err := k.Delete(ctx, client.ServicePath(k.Namespace, t.name))
	if fault.Of(err) == fault.NotFound { // an app without a port has none
		return nil
	}
	return err
}

func (a *app) scale() *cobra.Command {
	return a.command("scale NAME COPIES", "scale", cobra.ExactArgs(2), func(ctx context.Context, args []string) error {
		n, err := count(args[1])
		if err != nil {
			return fmt.Errorf("%s: %w", a.text.get("run.badreplicas", args[1]), fault.Invalid)
		}
		k, err := a.kube()
		if err != nil {
			return err
		}
		t, err := a.find(ctx, k, args[0])
		if err != nil {
			return err
		}
		if t.oneOff != nil {
			return fmt.Errorf("%s: %w", a.text.get("target.fixed.container", t.name, t.name), fault.Unsupported)
		}
		made, err := a.setCopies(ctx, k, t, n, "scale")
		switch {
		case err != nil || n == 0:
			return err
		case t.kind == "App":
			_, err = a.awaitApps(ctx, k, []client.App{made}, 0)
			return err
		}
		return a.awaitRollout(ctx, k, t)
	})
}

// setCopies changes how many copies something has. What has no number of them
// says how else to do what is wanted.
func (a *app) setCopies(ctx context.Context, k *client.Kube, t target, n int, verb string) (client.App, error) {
	var made client.App
	if err := a.changeable(ctx, k, t, verb); err != nil {
		return made, err
	}
	path := client.WorkloadPath(t.kind, k.Namespace, t.name)
	switch t.kind {
	case "App":
		err := k.Merge(ctx, path, object{"spec": object{"scale": object{"replicas": n}}}, &made)
		return made, err
	case "Deployment", "StatefulSet":
		return made, k.Merge(ctx, path, object{"spec": object{"replicas": n}}, nil)
	}
	return made, fmt.Errorf("%s: %w", a.text.get("target.fixed."+strings.ToLower(t.kind), t.name, t.name), fault.Unsupported)
}

// changeable says whether a change of t would last: of something that has a name
// of its own and belongs to nothing else.
func (a *app) changeable(ctx context.Context, k *client.Kube, t target, verb string) error {
	if t.kind != "" {
		return a.owned(ctx, k, t, verb)
	}
	// Only pods carry the name. What made them has another.
	p := t.pods[0]
	if err := a.owned(ctx, k, target{name: t.name, object: client.Workload{Meta: p.Meta}}, verb); err != nil {
		return err
	}
	return fmt.Errorf("%s: %w", a.text.get("target.label", t.name, p.Name), fault.Precondition)
}

// each runs do for every name, goes on after a failure, and reports them all.
func (a *app) each(do func(context.Context, *client.Kube, target) error) func(context.Context, []string) error {
	return func(ctx context.Context, names []string) error {
		k, err := a.kube()
		if err != nil {
			return err
		}
		var errs []error
		for _, name := range names {
			t, err := a.find(ctx, k, name)
			if err == nil {
				err = do(ctx, k, t)
			}
			if err != nil {
				errs = append(errs, err)
				continue
			}
			fmt.Fprintln(a.Out, name)
		}
		return errors.Join(errs...)
	}
}
