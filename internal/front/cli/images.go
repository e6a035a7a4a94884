package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/sampan-cloud/sampan/api/local"
	"github.com/sampan-cloud/sampan/internal/base/fault"
)

func (a *app) images() *cobra.Command {
	return a.outputFlag(a.command("images", "images", cobra.NoArgs, a.listImages))
}

func (a *app) image() *cobra.Command {
	c := &cobra.Command{Use: "image", Short: a.text.get("image.short")}
	c.AddCommand(a.outputFlag(a.command("ls", "images", cobra.NoArgs, a.listImages)),
		a.pull(), a.push(), a.load(), a.save(), a.tag(), a.rmi(), a.prune(), a.fromDeb())
	return c
}

func (a *app) listImages(ctx context.Context, _ []string) error {
	n, err := a.node()
	if err != nil {
		return err
	}
	var images []local.Image
	if err := n.Call(ctx, http.MethodGet, "/v1/images", nil, &images); err != nil {
		return err
	}
	return a.print(images, func() {
		head := func(column string) string { return a.text.get("image.column." + column) }
		t := a.table(head("name"), "ID", head("size"), head("created"))
		for _, i := range images {
			names := i.Names
			if len(names) == 0 {
				names = []string{"<none>"}
			}
			for _, name := range names {
				t.row(name, short(i.ID), size(i.Size), age(i.Created))
			}
		}
		t.flush()
	})
}

// short is the beginning of a digest that people compare.
func short(id string) string {
	id = strings.TrimPrefix(id, "sha256:")
	return id[:min(12, len(id))]
}

// transfer runs a long call and shows what it reports. The result is printed.
func (a *app) transfer(ctx context.Context, path string, body io.Reader) error {
	n, err := a.node()
	if err != nil {
		return err
	}
	p := a.progress()
	defer p.close()
	began := map[string]time.Time{}
	image, err := n.Progress(ctx, path, body, func(l local.Progress) {
		if _, ok := began[l.ID]; !ok {
			began[l.ID] = time.Now()
			p.step(l.ID, short(l.ID))
		}
		note := l.Step
		if l.Total > 0 {
			note += " " + size(l.Now) + " / " + size(l.Total)
		}
		p.note(l.ID, note)
		if l.Step == "done" || l.Step == "exists" {
			p.done(l.ID, time.Since(began[l.ID]), nil)
		}
	})
	if err != nil {
		return err
	}
	for id, t := range began {
		p.done(id, time.Since(t), nil)
	}
	p.close()
	if image != nil {
		for _, name := range image.Names {
			fmt.Fprintln(a.Out, name, short(image.ID), size(image.Size))
		}
	}
	return nil
}

// named is a transfer of one image, with the credential that was given.
func (a *app) named(use, key, path string) *cobra.Command {
	var user string
	c := a.command(use, key, cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
		r := local.Name{Name: args[0]}
		if user != "" {
			var ok bool
			if r.Username, r.Password, ok = strings.Cut(user, ":"); !ok {
				return fmt.Errorf("%s: %w", a.text.get("image.baduser"), fault.Invalid)
			}
		}
		body, err := json.Marshal(r)
		if err != nil {
			return err
		}
		return a.transfer(ctx, path, bytes.NewReader(body))
	})
	c.Flags().StringVarP(&user, "user", "u", "", a.text.get("image.user"))
	return c
}

func (a *app) pull() *cobra.Command { return a.named("pull NAME", "image.pull", "/v1/images/pull") }

func (a *app) push() *cobra.Command { return a.named("push NAME", "image.push", "/v1/images/push") }

func (a *app) load() *cobra.Command {
	return a.command("load [FILE]", "image.load", cobra.MaximumNArgs(1), func(ctx context.Context, args []string) error {
		in := a.In
		if len(args) == 1 && args[0] != "-" {
			f, err := os.Open(args[0])
			if err != nil {
				return err
			}
			defer f.Close()
			in = f
		}
		return a.transfer(ctx, "/v1/images/load", in)
	})
}

func (a *app) save() *cobra.Command {
	var out string
	c := a.command("save NAME…", "image.save", cobra.MinimumNArgs(1), func(ctx context.Context, args []string) (err error) {
		n, err := a.node()
		if err != nil {
			return err
		}
		if f, ok := a.Out.(*os.File); out == "" && ok && term.IsTerminal(int(f.Fd())) {
			return fmt.Errorf("%s: %w", a.text.get("image.terminal"), fault.Invalid)
		}
		r, err := n.Stream(ctx, http.MethodGet, "/v1/images/save?"+url.Values{"name": args}.Encode(), nil)
		if err != nil {
			return err
		}
		if out == "" {
			return copyAndClose(a.Out, r)
		}
		f, err := os.Create(out)
		if err != nil {
			r.Close()
			return err
		}
		if err := copyAndClose(f, r); err != nil {
			f.Close()
			os.Remove(out)
			return err
		}
		return f.Close()
	})
	c.Flags().StringVarP(&out, "output", "o", "", a.text.get("image.output"))
	return c
}

func (a *app) tag() *cobra.Command {
	return a.command("tag NAME NEW-NAME", "image.tag", cobra.ExactArgs(2), func(ctx context.Context, args []string) error {
		n, err := a.node()
		if err != nil {
			return err
		}
		return n.Call(ctx, http.MethodPost, "/v1/images/tag", local.Tag{Source: args[0], Target: args[1]}, nil)
	})
}

func (a *app) rmi() *cobra.Command {
	return a.command("rm NAME…", "image.rm", cobra.MinimumNArgs(1), func(ctx context.Context, args []string) error {
		n, err := a.node()
		if err != nil {
			return err
		}
		for _, name := range args {
			if err := n.Call(ctx, http.MethodDelete, "/v1/images?"+url.Values{"name": {name}}.Encode(), nil, nil); err != nil {
				return err
			}
			fmt.Fprintln(a.Out, name)
		}
		return nil
	})
}

func (a *app) prune() *cobra.Command {
	return a.command("prune", "image.prune", cobra.NoArgs, func(ctx context.Context, _ []string) error {
		n, err := a.node()
		if err != nil {
			return err
		}
		var p local.Pruned
		if err := n.Call(ctx, http.MethodPost, "/v1/images/prune", nil, &p); err != nil {
			return err
		}
		fmt.Fprintln(a.Out, a.text.get("image.freed", size(p.Freed)))
		return nil
	})
}

func (a *app) fromDeb() *cobra.Command {
	var r local.BuildDeb
	c := a.command("from-deb NAME PACKAGE…", "image.fromdeb", cobra.MinimumNArgs(2), func(ctx context.Context, args []string) error {
		r.Name, r.Packages = args[0], args[1:]
		body, err := json.Marshal(r)
		if err != nil {
			return err
		}
		return a.transfer(ctx, "/v1/images/build-deb", bytes.NewReader(body))
	})
	c.Flags().StringSliceVar(&r.Entrypoint, "entrypoint", nil, a.text.get("image.entrypoint"))
	c.Flags().StringSliceVar(&r.Command, "cmd", nil, a.text.get("image.cmd"))
	return c
}
