package app

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/sampan-cloud/sampan/api/client"
	"github.com/sampan-cloud/sampan/api/config"
	"github.com/sampan-cloud/sampan/internal/base/fault"
	"github.com/sampan-cloud/sampan/internal/cluster/kube"
	"github.com/sampan-cloud/sampan/internal/cluster/kubectl"
	"github.com/sampan-cloud/sampan/internal/front/compose"
)

// Main is the daemon program: `server` runs the node, `down` takes away what it
// leaves, `kubectl` is the upstream client, `compose` reads compose files. It returns the exit code.
func Main(ctx context.Context, args []string, version string, in io.Reader, out, errOut io.Writer) int {
	err := dispatch(ctx, args, version, in, out, errOut)
	var code exitCode
	switch {
	case err == nil:
		return 0
	case errors.As(err, &code):
		return int(code)
	}
	fmt.Fprintln(errOut, "sampand:", err)
	return 1
}

// exitCode is that of a command which has already said why.
type exitCode int

func (c exitCode) Error() string { return fmt.Sprintf("exit code %d", int(c)) }

func dispatch(ctx context.Context, args []string, version string, in io.Reader, out, errOut io.Writer) error {
	if len(args) == 0 {
		return fmt.Errorf("usage: sampand server|down|kubectl …: %w", fault.Invalid)
	}
	fs := flag.NewFlagSet("sampand "+args[0], flag.ContinueOnError)
	fs.SetOutput(errOut)
	path := fs.String("config", "", "configuration `file`")
	dataDir := fs.String("data-dir", "", "data `directory`, instead of the configuration's")
	self, err := os.Executable()
	if err != nil {
		return err
	}
	programs := filepath.Dir(self)
	switch args[0] {
	case "server":
		f, err := load(fs, args[1:], path, dataDir)
		if err != nil {
			return err
		}
		log, err := logger(f, errOut)
		if err != nil {
			return err
		}
		return Server(ctx, f, programs, version, log)
	case "down":
		purge := fs.Bool("purge", false, "delete the data too")
		f, err := load(fs, args[1:], path, dataDir)
		if err != nil {
			return err
		}
		// A person reads this: what went as it should is not worth a line.
		return Down(ctx, f, programs, *purge, slog.New(slog.NewTextHandler(errOut, &slog.HandlerOptions{Level: slog.LevelWarn})))
	case "merge-kubeconfig":
		f, err := load(fs, args[1:], path, dataDir)
		if err != nil {
			return err
		}
		if fs.NArg() != 1 {
			return fmt.Errorf("sampand merge-kubeconfig FILE: %w", fault.Invalid)
		}
		return mergeKubeconfig(f, fs.Arg(0), out)
	case "compose":
		return compose.Main(ctx, args[1:], in, out, errOut)
	case "kubectl":
		if code := kubectl.Run(ctx, client.AdminKubeconfig(config.DataDir), args[1:], in, out, errOut); code != 0 {
			return exitCode(code)
		}
		return nil
	}
	return fmt.Errorf("sampand %s: no such command: %w", args[0], fault.Invalid)
}

// mergeKubeconfig puts the administrator's entry into the kubeconfig at path.
func mergeKubeconfig(f config.File, path string, out io.Writer) error {
	set, err := newSettings(f, "")
	if err != nil {
		return err
	}
	cluster, err := kube.New(set.kube(), slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	if err := cluster.MergeKubeconfig(path); err != nil {
		return err
	}
	_, err = fmt.Fprintln(out, path)
	return err
}

// load reads flags and configuration.
func load(fs *flag.FlagSet, args []string, path, dataDir *string) (config.File, error) {
	if err := fs.Parse(args); err != nil {
		return config.File{}, errors.Join(err, fault.Invalid)
	}
	return config.LoadWith(*path, func(f *config.File) {
		if *dataDir != "" {
			f.DataDir = *dataDir
		}
	})
}

// logger writes the daemon's log.
func logger(f config.File, w io.Writer) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(f.Log.Level)); err != nil {
		return nil, fmt.Errorf("log.level: %q is none of debug, info, warn and error: %w", f.Log.Level, fault.Invalid)
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: level})), nil
}
