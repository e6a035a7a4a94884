package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// kubectl hands over to the daemon's program, which has the upstream client
// built in: this process becomes it.
func (a *app) kubectl() *cobra.Command {
	c := a.command("kubectl …", "kubectl", cobra.ArbitraryArgs, func(_ context.Context, args []string) error {
		path, err := a.kubeconfigPath()
		if err != nil {
			return err
		}
		return a.become("kubectl", append([]string{"--kubeconfig", path}, args...))
	})
	c.DisableFlagParsing = true
	return c
}

// become replaces this process by one of the daemon program's commands.
func (a *app) become(command string, args []string) error {
	f, err := a.settings()
	if err != nil {
		return err
	}
	path := program(f)
	err = syscall.Exec(path, append([]string{"sampand", command}, args...), os.Environ())
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%s: %w", a.text.get("no.program", path), fault.Precondition)
	}
	return fmt.Errorf("%s: %w", path, err)
}
