// Package cli is the command line: it reads the request, calls the API, prints
// the answer.
//
// It starts in milliseconds because nothing heavy is linked in: what needs
// Kubernetes' own code (kubectl) is handed to the daemon's program. Every
// sentence a user reads is in messages/, once per language.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/sampan-cloud/sampan/api/client"
	"github.com/sampan-cloud/sampan/api/config"
	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// Env is the world that a command runs in.
type Env struct {
	In      io.Reader
	Out     io.Writer
	Err     io.Writer
	Getenv  func(string) string
	Version string
}

// app is one run of the command line.
type app struct {
	Env
	text       text
	configPath string
	kubeconfig string
	namespace  string
	// environment is the namespace that --env names.
	environment string
	output      string // table, json or yaml
}

// exitError carries a command's own exit code through cobra.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// Main runs the command line with args and returns its exit code.
func Main(ctx context.Context, env Env, args []string) int {
	a := &app{Env: env, text: language(env.Getenv)}
	root := a.root()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	var code exitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &code):
		return int(code)
	}
	fmt.Fprintf(env.Err, "sampan: %s\n", a.text.error(err))
	if hint := a.hint(err); hint != "" {
		fmt.Fprintf(env.Err, "  %s\n", hint)
	}
	var failed *client.APIError
	if errors.As(err, &failed) && failed.ExitCode != 0 {
		return failed.ExitCode
	}
	return 1
}

// root builds the tree of commands.
func (a *app) root() *cobra.Command {
	c := &cobra.Command{
		Use:           "sampan",
		Short:         a.text.get("root.short"),
		Long:          a.text.get("root.long"),
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	c.SetOut(a.Out)
	c.SetErr(a.Err)
	c.SetIn(a.In)
	c.SetFlagErrorFunc(a.flagError)
	p := c.PersistentFlags()
	p.StringVar(&a.configPath, "config", a.Getenv("SAMPAN_CONFIG"), a.text.get("flag.config"))
	p.StringVar(&a.kubeconfig, "kubeconfig", "", a.text.get("flag.kubeconfig"))
	p.StringVarP(&a.namespace, "namespace", "n", "", a.text.get("flag.namespace"))
	for _, g := range []string{"cloud", "apps", "images"} {
		c.AddGroup(&cobra.Group{ID: g, Title: a.text.get("group." + g)})
	}
	add := func(group string, cmds ...*cobra.Command) {
		for _, cmd := range cmds {
			cmd.GroupID = group
			c.AddCommand(cmd)
		}
	}
	add("cloud", a.up(), a.down(), a.status(), a.config(), a.kubectl(), a.kubeconfigCommand(), a.completion(), a.version())
	add("apps", a.deploy(), a.appCommand(), a.serviceCommand(), a.run(), a.ps(), a.logs(), a.exec(), a.stop(), a.rm(), a.scale())
	add("images", a.images(), a.image())
	a.translate(c)
	a.answerUnknown(c)
	return c
}

// command makes a command whose help stands in the messages under key.
func (a *app) command(use, key string, args cobra.PositionalArgs, run func(ctx context.Context, args []string) error) *cobra.Command {
	return &cobra.Command{
		ValidArgsFunction: a.complete(use, key),

		Use:     use,
		Short:   a.text.get(key + ".short"),
		Example: a.text.get(key + ".example"),
		Args: func(c *cobra.Command, got []string) error {
			if args(c, got) != nil {
				return fmt.Errorf("%s: %w", a.text.get("usage.is", c.UseLine()), fault.Invalid)
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error { return run(c.Context(), args) },
	}
}

// settings reads the configuration file.
func (a *app) settings() (config.File, error) { return config.Load(a.configPath) }

// kube opens the cloud's Kubernetes API: as this machine's administrator where
// there is a cloud here, else by the user's kubeconfig.
func (a *app) kube() (*client.Kube, error) {
	path, err := a.kubeconfigPath()
	if err != nil {
		return nil, err
	}
	k, err := client.OpenKube(path)
	if err != nil {
		return nil, err
	}
	if a.namespace != "" {
		k.Namespace = a.namespace
	}
	return k, nil
}

func (a *app) kubeconfigPath() (string, error) {
	if a.kubeconfig != "" {
		return a.kubeconfig, nil
	}
	f, err := a.settings()
	if err != nil {
		return "", err
	}
	admin := client.AdminKubeconfig(f.DataDir)
	if file, err := os.Open(admin); err == nil {
		return admin, file.Close()
	}
	user := a.Getenv("KUBECONFIG")
	if user == "" {
		user = filepath.Join(a.Getenv("HOME"), ".kube", "config")
	}
	if _, err := os.Stat(user); err == nil {
		return user, nil
	}
	return "", fmt.Errorf("%s: %w", a.text.get("no.cloud", admin), fault.Precondition)
}

// node opens the local socket of this machine's daemon.
func (a *app) node() (*client.Node, error) {
	f, err := a.settings()
	if err != nil {
		return nil, err
	}
	return client.OpenNode(f.RunDir), nil
}

// hint says what to do about err, where the error's kind tells.
func (a *app) hint(err error) string {
	switch {
	case errors.Is(err, client.ErrNoDaemon):
		return a.text.get("hint.nodaemon")
	case errors.Is(err, client.ErrNoAnswer):
		return a.text.get("hint.noanswer")
	case fault.Of(err) == fault.Forbidden && os.Geteuid() != 0:
		return a.text.get("hint.root")
	}
	return ""
}
