package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
)

func (a *app) config() *cobra.Command {
	show := a.command("show", "config.show", cobra.NoArgs, func(context.Context, []string) error {
		f, err := a.settings()
		if err != nil {
			return err
		}
		data, err := f.Marshal()
		if err != nil {
			return err
		}
		_, err = a.Out.Write(data)
		return err
	})
	c := &cobra.Command{Use: "config", Short: a.text.get("config.short")}
	c.AddCommand(show)
	return c
}

func (a *app) version() *cobra.Command {
	return a.command("version", "version", cobra.NoArgs, func(context.Context, []string) error {
		_, err := fmt.Fprintln(a.Out, "sampan", a.Version)
		return err
	})
}
