package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/sampan-cloud/sampan/api/client"
)

func (a *app) status() *cobra.Command {
	var quiet bool
	c := a.command("status", "status", cobra.NoArgs, func(ctx context.Context, _ []string) error {
		n, err := a.node()
		if err != nil {
			return err
		}
		s, err := n.Status(ctx)
		switch {
		case quiet && (err != nil || !s.Ready()):
			return exitError(1)
		case quiet:
			return nil
		case errors.Is(err, client.ErrNoDaemon):
			fmt.Fprintln(a.Out, a.text.get("status.off"))
			return exitError(1)
		case err != nil:
			return err
		}
		return a.print(s, func() { a.showStatus(s) })
	})
	c.Flags().BoolVarP(&quiet, "quiet", "q", false, a.text.get("status.quiet"))
	return a.outputFlag(c)
}

func (a *app) showStatus(s client.Status) {
	t := a.table()
	t.row(a.text.get("status.state"), s.State+" ("+age(s.Since)+")")
	t.row(a.text.get("status.node"), s.Node+"  "+s.Address)
	t.row(a.text.get("status.version"), s.Version)
	t.row(a.text.get("up.api"), s.API)
	if s.Registry != "" {
		t.row(a.text.get("up.registry"), s.Registry)
	}
	t.flush()
	fmt.Fprintln(a.Out)
	t = a.table(a.text.get("status.part"), a.text.get("status.state"), a.text.get("status.took"))
	for _, p := range s.Parts {
		t.row(p.Name, p.State, p.Took.Round(time.Millisecond).String())
	}
	t.flush()
}
