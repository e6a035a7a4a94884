package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/sampan-cloud/sampan/api/client"
	"github.com/sampan-cloud/sampan/api/config"
	"github.com/sampan-cloud/sampan/internal/base/fault"
	"github.com/sampan-cloud/sampan/internal/front/bundle"
)

// upLimit is how long the cloud may take to be ready; a slow disk and a cold
// cache fit in it many times over.
const upLimit = 3 * time.Minute

func (a *app) up() *cobra.Command {
	var dataDir string
	c := a.command("up", "up", cobra.NoArgs, func(ctx context.Context, _ []string) error {
		f, err := a.upSettings(dataDir)
		if err != nil {
			return err
		}
		return a.start(ctx, f)
	})
	c.Flags().StringVar(&dataDir, "data-dir", "", a.text.get("up.datadir"))
	return c
}

// upSettings reads the configuration, with the data directory given by flag.
func (a *app) upSettings(dataDir string) (config.File, error) {
	if dataDir == "" {
		return a.settings()
	}
	return config.LoadWith(a.configPath, func(f *config.File) { f.DataDir = dataDir })
}

// start brings the cloud of this machine up and waits for it.
func (a *app) start(ctx context.Context, f config.File) error {
	if err := a.preflight(f); err != nil {
		return err
	}
	// Whoever reads this output may go away; a cloud must not stay half started.
	signal.Ignore(syscall.SIGPIPE)
	running, err := client.OpenNode(f.RunDir).Status(ctx)
	if err == nil && running.Version == a.Version {
		return fmt.Errorf("%s: %w", a.text.get("up.running", f.DataDir, running.PID), fault.Exists)
	}
	upgrade := err == nil
	began := time.Now()
	p := a.progress()
	defer p.close()
	p.step("programs", a.text.get("up.extract"))
	p.waits("programs", a.text.get("up.waits.programs"))
	self, err := os.Executable()
	if err != nil {
		return err
	}
	dir, err := bundle.Extract(self, filepath.Join(f.DataDir, "bin"), nil)
	if err != nil {
		return fmt.Errorf("up: %w", err)
	}
	if err := makeCurrent(f.DataDir, dir); err != nil {
		return fmt.Errorf("up: %w", err)
	}
	p.done("programs", time.Since(began), nil)
	d := daemon{file: f, config: a.configPath, text: a.text}
	if upgrade {
		// Only the daemon: containers are the keeper's and go on.
		began := time.Now()
		p.step("upgrade", a.text.get("up.upgrade", running.Version, a.Version))
		p.waits("upgrade", a.text.get("up.waits.upgrade"))
		err := d.end(ctx)
		p.done("upgrade", time.Since(began), err)
		if err != nil {
			return fmt.Errorf("up: %w", err)
		}
	}
	p.step("daemon", a.text.get("part.daemon"))
	p.waits("daemon", a.text.get("up.waits.daemon"))
	if err := d.start(ctx); err != nil {
		return fmt.Errorf("up: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, upLimit)
	defer cancel()
	s, err := a.awaitReady(ctx, f, p)
	if err != nil {
		return err
	}
	p.close()
	a.printUp(f, s, time.Since(began))
	return removeOthers(f.DataDir)
}

// awaitReady follows the daemon's parts until all have started or it gave up.
func (a *app) awaitReady(ctx context.Context, f config.File, p *progress) (client.Status, error) {
	node := client.OpenNode(f.RunDir)
	began := time.Now()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		s, err := node.Status(ctx)
		if err == nil {
			p.done("daemon", time.Since(began), nil)
			for _, part := range s.Parts {
				p.step(part.Name, a.text.get("part."+part.Name))
				if key := "up.waits." + part.Name; a.text[key] != "" {
					p.waits(part.Name, a.text.get("up.waits."+part.Name))
				}
				if part.State == "ready" {
					p.done(part.Name, part.Took, nil)
				}
			}
			if s.Ready() {
				return s, nil
			}
		}
		if why, ok := lastError(f); ok {
			p.close()
			return s, errors.New(why)
		}
		select {
		case <-ctx.Done():
			p.close()
			return s, fmt.Errorf("%s: %w", a.text.get("up.slow", upLimit, logPath(f)), fault.Of(ctx.Err()))
		case <-tick.C:
		}
	}
}

// printUp says where everything is and what to do next.
func (a *app) printUp(f config.File, s client.Status, took time.Duration) {
	fmt.Fprintln(a.Out, a.text.get("up.ready", s.Node, took.Round(10*time.Millisecond)))
	t := a.table()
	t.row("  "+a.text.get("up.api"), s.API)
	if s.Registry != "" {
		t.row("  "+a.text.get("up.registry"), s.Registry+" ("+s.Images+"/…)")
	}
	t.row("  kubeconfig", client.AdminKubeconfig(f.DataDir))
	t.flush()
	fmt.Fprintln(a.Out, a.text.get("up.next"))
}

// preflight refuses at once what could not work, with the way out.
func (a *app) preflight(f config.File) error {
	if os.Geteuid() != 0 {
		return fmt.Errorf("%s: %w", a.text.get("up.root"), fault.Forbidden)
	}
	if err := config.CheckDataDir(f.DataDir); err != nil {
		return err
	}
	if !hasOverlay(filesystems) && !loadModule("overlay") {
		return fmt.Errorf("%s: %w", a.text.get("up.overlay"), fault.Unsupported)
	}
	if missing := missingControllers(cgroupRoot); len(missing) > 0 {
		return fmt.Errorf("%s: %w", a.text.get("up.cgroups", strings.Join(missing, ", ")), fault.Unsupported)
	}
	return nil
}

// lastError is why the daemon of f stopped by itself, if it did.
func lastError(f config.File) (string, bool) {
	data, err := os.ReadFile(filepath.Join(f.RunDir, "error"))
	return strings.TrimSpace(string(data)), err == nil
}
