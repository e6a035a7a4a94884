package cli

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/sampan-cloud/sampan/api/client"
	"github.com/sampan-cloud/sampan/internal/base/fault"
)

func (a *app) configSet() *cobra.Command {
	var secret bool
	var files, envFiles []string
	var cause string
	var wait waiting
	c := a.command("set NAME [KEY=VALUE…]", "app.config.set", cobra.MinimumNArgs(1), func(ctx context.Context, args []string) error {
		r := values{cli: a, secret: secret}
		if err := r.read(args[1:], files, envFiles); err != nil {
			return err
		}
		if len(r.edits) == 0 {
			return fmt.Errorf("%s: %w", a.text.get("app.config.nothing"), fault.Invalid)
		}
		return a.edit(ctx, args[0], r.edits, cause, wait)
	})
	f := c.Flags()
	f.BoolVar(&secret, "secret", false, a.text.get("app.config.secret"))
	f.StringArrayVar(&files, "file", nil, a.text.get("app.config.file"))
	f.StringArrayVar(&envFiles, "env-file", nil, a.text.get("app.config.envfile"))
	f.StringVar(&cause, "cause", "", a.text.get("deploy.cause"))
	a.waitFlags(c, &wait)
	return c
}

func (a *app) configUnset() *cobra.Command {
	var cause string
	var wait waiting
	c := a.command("unset NAME KEY|PATH…", "app.config.unset", cobra.MinimumNArgs(2), func(ctx context.Context, args []string) error {
		var edits []edit
		for _, what := range args[1:] {
			e := edit{name: what, remove: true}
			if strings.HasPrefix(what, "/") {
				e = edit{path: what, remove: true}
			}
			edits = append(edits, e)
		}
		return a.edit(ctx, args[0], edits, cause, wait)
	})
	c.Flags().StringVar(&cause, "cause", "", a.text.get("deploy.cause"))
	a.waitFlags(c, &wait)
	return c
}

// edit changes an app's own configuration and says which version that made.
func (a *app) edit(ctx context.Context, name string, edits []edit, cause string, wait waiting) error {
	k, err := a.kubeOfEnvironment()
	if err != nil {
		return err
	}
	var app client.App
	if err := a.readApp(ctx, k, name, &app); err != nil {
		return err
	}
	w, changed, err := a.changeOwn(ctx, k, &app, edits, cause)
	if err != nil {
		return err
	}
	if !changed {
		fmt.Fprintln(a.Out, a.text.get("app.config.same", name, versionName(app.Status.Config)))
		return nil
	}
	return a.configured(ctx, k, name, w, wait)
}

// values reads what a command line says is to be set.
type values struct {
	cli    *app
	secret bool
	taken  bool // whether the input has been read
	edits  []edit
}

func (r *values) read(args, files, envFiles []string) error {
	for _, f := range envFiles {
		if err := r.envFile(f); err != nil {
			return err
		}
	}
	for _, arg := range args {
		if err := r.variable(arg); err != nil {
			return err
		}
	}
	for _, f := range files {
		if err := r.file(f); err != nil {
			return err
		}
	}
	seen := map[string]bool{}
	for _, e := range r.edits {
		if seen[e.String()] {
			return r.wrong(r.cli.text.get("app.config.twice", e))
		}
		seen[e.String()] = true
	}
	return nil
}

func (r *values) wrong(message string) error { return fmt.Errorf("%s: %w", message, fault.Invalid) }

// variable reads KEY=VALUE. A secret value on a command line would stay in the
// shell's history and be seen by whoever lists processes: KEY alone asks for it,
// KEY=@FILE reads it.
func (r *values) variable(arg string) error {
	name, text, given := strings.Cut(arg, "=")
	if !r.secret {
		if !given {
			return r.wrong(r.cli.text.get("app.config.novalue", arg))
		}
		return r.add(name, []byte(text))
	}
	var value []byte
	var err error
	switch file, fromFile := strings.CutPrefix(text, "@"); {
	case given && !fromFile:
		return r.wrong(r.cli.text.get("app.config.shown", name, name, name))
	case given:
		value, err = r.content(file)
	default:
		value, err = r.ask(name)
	}
	if err != nil {
		return err
	}
	// Editors and echo end a line that is none of the value.
	return r.add(name, bytes.TrimSuffix(bytes.TrimSuffix(value, []byte("\n")), []byte("\r")))
}

// variableName is what a process finds in its environment.
var variableName = regexp.MustCompile(`^[-._a-zA-Z][-._a-zA-Z0-9]{0,252}$`)

func (r *values) add(name string, value []byte) error {
	switch {
	case !variableName.MatchString(name):
		return r.wrong(r.cli.text.get("app.config.badname", name))
	case !utf8.Valid(value) || bytes.ContainsRune(value, 0):
		return r.wrong(r.cli.text.get("app.config.nottext", name, name))
	}
	r.edits = append(r.edits, edit{name: name, value: value, secret: r.secret})
	return nil
}

// ask reads a secret value: unseen from a terminal, else all of the input.
func (r *values) ask(name string) ([]byte, error) {
	if in, ok := r.cli.In.(*os.File); ok && term.IsTerminal(int(in.Fd())) {
		fmt.Fprintf(r.cli.Err, "%s: ", name)
		value, err := term.ReadPassword(int(in.Fd()))
		fmt.Fprintln(r.cli.Err)
		return value, err
	}
	return r.content("-")
}

// content reads a file, or the input, which can be read once.
func (r *values) content(name string) ([]byte, error) {
	if name != "-" {
		return os.ReadFile(name)
	}
	if r.taken {
		return nil, r.wrong(r.cli.text.get("app.config.once"))
	}
	r.taken = true
	return io.ReadAll(r.cli.In)
}

// file reads PATH=LOCAL.
func (r *values) file(arg string) error {
	at, local, ok := strings.Cut(arg, "=")
	if !ok || local == "" || !path.IsAbs(at) || path.Clean(at) != at || at == "/" {
		return r.wrong(r.cli.text.get("app.config.badfile", arg))
	}
	value, err := r.content(local)
	if err != nil {
		return err
	}
	r.edits = append(r.edits, edit{path: at, value: value, secret: r.secret})
	return nil
}

// envFile reads lines of KEY=VALUE, as docker and compose do.
func (r *values) envFile(name string) error {
	data, err := r.content(name)
	if err != nil {
		return err
	}
	lines := bufio.NewScanner(bytes.NewReader(data))
	lines.Buffer(nil, largest)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		key, value, ok := strings.Cut(strings.TrimPrefix(line, "export "), "=")
		if !ok {
			return fmt.Errorf("%s:%d: %w", name, n, r.wrong(r.cli.text.get("app.config.novalue", key)))
		}
		if q := strings.TrimSpace(value); len(q) >= 2 && q[0] == q[len(q)-1] && (q[0] == '"' || q[0] == '\'') {
			value = q[1 : len(q)-1]
		}
		if err := r.add(strings.TrimSpace(key), []byte(value)); err != nil {
			return fmt.Errorf("%s:%d: %w", name, n, err)
		}
	}
	return lines.Err()
}
