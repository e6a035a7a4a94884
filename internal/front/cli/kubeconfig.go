package cli

import (
	"context"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
)

// kubeconfigCommand prints the administrator's kubeconfig, or puts it into the
// user's own, beside what that has of other clusters.
func (a *app) kubeconfigCommand() *cobra.Command {
	var merge bool
	c := a.command("kubeconfig", "kubeconfig", cobra.NoArgs, func(context.Context, []string) error {
		path, err := a.kubeconfigPath()
		if err != nil {
			return err
		}
		if !merge {
			data, err := os.ReadFile(path)
			if err == nil {
				_, err = a.Out.Write(data)
			}
			return err
		}
		f, err := a.settings()
		if err != nil {
			return err
		}
		into := a.Getenv("KUBECONFIG")
		if into == "" {
			into = filepath.Join(a.Getenv("HOME"), ".kube", "config")
		}
		d := daemon{file: f, config: a.configPath, text: a.text}
		return a.become("merge-kubeconfig", append(d.args("merge-kubeconfig")[1:], into))
	})
	c.Flags().BoolVar(&merge, "merge", false, a.text.get("kubeconfig.merge"))
	return c
}
