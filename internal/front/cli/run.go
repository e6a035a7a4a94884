package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"path"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/sampan-cloud/sampan/api/client"
	"github.com/sampan-cloud/sampan/internal/base/fault"
)

func (a *app) run() *cobra.Command {
	var w workload
	var one oneOff
	var flags *pflag.FlagSet
	var c *cobra.Command
	c = a.command("run IMAGE [COMMAND…]", "run", cobra.MinimumNArgs(1), func(ctx context.Context, args []string) error {
		w.image = args[0]
		// Flags may stand before and after the image; what follows them is the
		// command, whose own flags are none of ours.
		if err := flags.Parse(args[1:]); err != nil {
			return a.flagError(c, err)
		}
		w.args = flags.Args()
		if one.remove || one.tty || one.interactive {
			one.workload = w
			return a.runOnce(ctx, one)
		}
		return a.runApp(ctx, w)
	})
	f := c.Flags()
	f.SetInterspersed(false)
	flags = f
	f.StringVar(&w.name, "name", "", a.text.get("run.name"))
	f.IntVar(&w.port, "port", 0, a.text.get("run.port"))
	f.IntVar(&w.publish, "publish", 0, a.text.get("run.publish"))
	f.IntVar(&w.replicas, "replicas", 1, a.text.get("run.replicas"))
	f.StringArrayVarP(&w.env, "env", "e", nil, a.text.get("run.env"))
	f.StringVar(&w.cpu, "cpu", "", a.text.get("run.cpu"))
	f.StringVar(&w.memory, "memory", "", a.text.get("run.memory"))
	f.BoolVar(&one.remove, "rm", false, a.text.get("run.rm"))
	f.BoolVarP(&one.tty, "tty", "t", false, a.text.get("run.tty"))
	f.BoolVarP(&one.interactive, "interactive", "i", false, a.text.get("run.interactive"))
	f.StringVar(&one.network, "network", "bridge", a.text.get("run.network"))
	f.StringVar(&one.runtime, "runtime", "", a.text.get("run.runtime"))
	f.StringArrayVarP(&one.volumes, "volume", "v", nil, a.text.get("run.volume"))
	return c
}

// runApp makes an app of the image, waits until it serves and prints where.
func (a *app) runApp(ctx context.Context, w workload) error {
	if w.name == "" {
		w.name = nameFor(w.image)
	}
	if !validName.MatchString(w.name) || len(w.name) > 63 {
		return fmt.Errorf("%s: %w", a.text.get("run.badname", w.name), fault.Invalid)
	}
	switch {
	case w.port < 0 || w.port > 65535 || w.publish < 0 || w.publish > 65535:
		return fmt.Errorf("%s: %w", a.text.get("run.badport"), fault.Invalid)
	case w.publish > 0 && w.port == 0:
		w.port = w.publish
	case w.replicas < 0:
		return fmt.Errorf("%s: %w", a.text.get("run.badreplicas", fmt.Sprint(w.replicas)), fault.Invalid)
	}
	k, err := a.kube()
	if err != nil {
		return err
	}
	if t, err := a.lookUp(ctx, k, w.name); err == nil {
		return fmt.Errorf("%s: %w", a.text.get("run.exists", t.kind, w.name, w.name), fault.Exists)
	}
	address, err := w.create(ctx, k, a.text)
	if err != nil {
		if fault.Of(err) == fault.Exists {
			return fmt.Errorf("%s: %w", a.text.get("run.taken", w.name), fault.Exists)
		}
		return err
	}
	if err := a.awaitRollout(ctx, k, target{kind: "Deployment", name: w.name, selector: client.LabelName + "=" + w.name}); errors.Is(err, errHopeless) {
		// There is nothing in it to look at, and the name should be free.
		return errors.Join(err, w.remove(ctx, k))
	} else if err != nil {
		return err
	}
	if address == "" {
		fmt.Fprintln(a.Out, a.text.get("run.up", w.name, w.replicas))
		return nil
	}
	if !answers(ctx, address) {
		fmt.Fprintln(a.Err, a.text.get("run.silent", address))
	}
	fmt.Fprintln(a.Out, address)
	return nil
}

// answers waits until a URL takes connections: the nodes learn of a new address a
// moment after it was made. It gives up where a firewall may be in the way.
func answers(ctx context.Context, address string) bool {
	u, err := url.Parse(address)
	if err != nil {
		return false
	}
	host := u.Host
	if u.Port() == "" {
		host = net.JoinHostPort(u.Hostname(), "80")
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	d := net.Dialer{Timeout: time.Second}
	for ctx.Err() == nil {
		if conn, err := d.DialContext(ctx, "tcp", host); err == nil {
			conn.Close()
			return true
		}
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
	return false
}

var validName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`)

// nameFor makes an app's name of the last part of its image's.
func nameFor(image string) string {
	name, _, _ := strings.Cut(image, "@")
	name, _, _ = strings.Cut(path.Base(name), ":")
	return strings.Trim(regexp.MustCompile(`[^a-z0-9-]+`).ReplaceAllString(strings.ToLower(name), "-"), "-")
}
