package cli

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sampan-cloud/sampan/api/client"
	"github.com/sampan-cloud/sampan/internal/base/fault"
)

func (a *app) appScale() *cobra.Command {
	return a.command("scale NAME COPIES|MIN..MAX|auto", "app.scale", cobra.ExactArgs(2), func(ctx context.Context, args []string) error {
		scale, err := readScale(args[1])
		if err != nil {
			return fmt.Errorf("%s: %w", a.text.get("app.badscale", args[1]), fault.Invalid)
		}
		k, err := a.kube()
		if err != nil {
			return err
		}
		var now client.App
		if err := k.Merge(ctx, client.AppPath(k.Namespace, args[0]), object{"spec": object{"scale": scale}}, &now); err != nil {
			if e := a.appError(err, args[0]); e != err {
				return e
			}
			return a.deployError(err, func(string) string { return "scale " + args[0] + " " + args[1] })
		}
		fmt.Fprintln(a.Out, now.Name)
		return nil
	})
}

// readScale reads a fixed number, limits, or auto, as a patch of the app's
// scale. Limits may be open at either end.
func readScale(s string) (object, error) {
	if s == "auto" {
		return object{"replicas": nil}, nil
	}
	low, high, limits := strings.Cut(s, "..")
	if !limits {
		n, err := count(s)
		return object{"replicas": n}, err
	}
	patch := object{"replicas": nil, "min": nil, "max": nil}
	for key, value := range map[string]string{"min": low, "max": high} {
		if value == "" {
			continue
		}
		n, err := count(value)
		if err != nil {
			return nil, err
		}
		patch[key] = n
	}
	return patch, nil
}

func count(s string) (int, error) {
	n, err := strconv.ParseUint(s, 10, 31)
	return int(n), err
}
