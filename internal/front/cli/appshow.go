package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/sampan-cloud/sampan/api/client"
)

func (a *app) appShow() *cobra.Command {
	watch := true
	c := a.command("show NAME", "app.show", cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
		k, err := a.kube()
		if err != nil {
			return err
		}
		var raw json.RawMessage
		if err := k.Get(ctx, client.AppPath(k.Namespace, args[0]), &raw); err != nil {
			return a.appError(err, args[0])
		}
		var app client.App
		if err := json.Unmarshal(raw, &app); err != nil {
			return fmt.Errorf("%s: %w", args[0], err)
		}
		if watch && a.output == "table" && a.onTerminal() {
			return a.showLive(ctx, k, app)
		}
		return a.print(raw, func() { fmt.Fprint(a.Out, a.draw(&app, plainInk, 0)) })
	})
	c.Flags().BoolVar(&watch, "watch", true, a.text.get("app.watch"))
	return a.outputFlag(c)
}

// onTerminal tells whether a person looks at the output and can press keys.
func (a *app) onTerminal() bool {
	in, okIn := a.In.(*os.File)
	out, okOut := a.Out.(*os.File)
	return okIn && okOut && term.IsTerminal(int(in.Fd())) && term.IsTerminal(int(out.Fd())) && a.Getenv("TERM") != "dumb"
}
