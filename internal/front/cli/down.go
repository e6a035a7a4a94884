package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"

	"github.com/spf13/cobra"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

func (a *app) down() *cobra.Command {
	var purge bool
	var dataDir string
	c := a.command("down", "down", cobra.NoArgs, func(ctx context.Context, _ []string) error {
		f, err := a.upSettings(dataDir)
		if err != nil {
			return err
		}
		if os.Geteuid() != 0 {
			return fmt.Errorf("%s: %w", a.text.get("down.root"), fault.Forbidden)
		}
		if _, err := os.Stat(program(f)); errors.Is(err, os.ErrNotExist) {
			fmt.Fprintln(a.Out, a.text.get("down.nothing", f.DataDir))
			return nil
		}
		d := daemon{file: f, config: a.configPath, text: a.text}
		if err := d.stop(ctx); err != nil {
			return err
		}
		// What the daemon leaves on purpose, so that containers outlive it, its own
		// program takes away: also after everything was killed.
		var more []string
		if purge {
			more = append(more, "--purge")
		}
		clean := exec.CommandContext(ctx, program(f), d.args("down", more...)...)
		clean.Stdout, clean.Stderr = a.Out, a.Err
		if err := clean.Run(); err != nil {
			return fmt.Errorf("%s: %w", a.text.get("down.left"), err)
		}
		fmt.Fprintln(a.Out, a.text.get("down.done"))
		return nil
	})
	c.Flags().BoolVar(&purge, "purge", false, a.text.get("down.purge"))
	c.Flags().StringVar(&dataDir, "data-dir", "", a.text.get("up.datadir"))
	return c
}
