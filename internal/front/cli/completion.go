package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sampan-cloud/sampan/api/client"
	"github.com/sampan-cloud/sampan/internal/base/fault"
)

func (a *app) completion() *cobra.Command {
	c := a.command("completion bash|zsh|fish", "completion", cobra.ExactArgs(1), nil)
	c.ValidArgs = []string{"bash", "zsh", "fish"}
	c.ValidArgsFunction = nil
	c.RunE = func(c *cobra.Command, args []string) error {
		switch args[0] {
		case "bash":
			return c.Root().GenBashCompletionV2(a.Out, true)
		case "zsh":
			return c.Root().GenZshCompletion(a.Out)
		case "fish":
			return c.Root().GenFishCompletion(a.Out, true)
		}
		return fmt.Errorf("%s: %w", a.text.get("completion.unknown", args[0]), fault.Invalid)
	}
	return c
}

// patience with a shell that waits for its user's next key.
const completeWithin = time.Second

// complete offers the names of what a command is about, as far as the cloud
// tells them in time.
func (a *app) complete(use, key string) cobra.CompletionFunc {
	kinds := completed[key]
	if strings.HasPrefix(key, "app.") && strings.Contains(use, " NAME") {
		kinds = []string{"App"}
	}
	if kinds == nil {
		return nil
	}
	several := strings.Contains(use, "NAME…")
	return func(c *cobra.Command, typed []string, begun string) ([]string, cobra.ShellCompDirective) {
		if len(typed) > 0 && !several {
			return nil, cobra.ShellCompDirectiveDefault
		}
		k, err := a.kubeOfEnvironment()
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(c.Context(), completeWithin)
		defer cancel()
		var names []string
		for _, kind := range kinds {
			var list client.Items[client.Workload]
			if k.Get(ctx, client.WorkloadPath(kind, k.Namespace, ""), &list) != nil {
				continue // no such kind here, or no right to list it
			}
			for _, w := range list.Items {
				// What belongs to an app is reached by the app's name.
				if strings.HasPrefix(w.Name, begun) && controller(w.Meta).Kind == "" && !slices.Contains(typed, w.Name) {
					names = append(names, w.Name)
				}
			}
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

// completed are the kinds of things that a command's argument may name.
var completed = map[string][]string{
	"logs": nameable[:], "exec": nameable[:], "stop": nameable[:], "rm": nameable[:],
	"scale": {"App", "Deployment", "StatefulSet"}, "deploy": {"App"},
}
