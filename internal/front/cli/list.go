package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/sampan-cloud/sampan/api/client"
)

// listing makes a command that lists what is in the user's namespace or, with
// -A, in all. Read gets it, from all namespaces where the client names none;
// show prints it for people.
func listing[T any](a *app, use, key string, read func(context.Context, *client.Kube) ([]T, error), show func(list []T, all bool)) *cobra.Command {
	var all bool
	c := a.command(use, key, cobra.NoArgs, func(ctx context.Context, _ []string) error {
		k, err := a.kube()
		if err != nil {
			return err
		}
		if all {
			k.Namespace = ""
		}
		list, err := read(ctx, k)
		if err != nil {
			return err
		}
		return a.print(list, func() { show(list, all) })
	})
	c.Flags().BoolVarP(&all, "all", "A", false, a.text.get("ps.all"))
	return a.outputFlag(c)
}

// called is an object's name, with its namespace where there are several.
func called(m client.Meta, all bool) string {
	if all {
		return m.Namespace + "/" + m.Name
	}
	return m.Name
}
