// Package edge runs what users' traffic passes through: gateway and DNS.
//
// It is a program of its own, sampan-edge, so that users' traffic does not
// notice when the daemon restarts. Each part has a section in one configuration
// file and runs when it is named on the command line.
package edge

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	stdlog "log"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"k8s.io/klog/v2"
	"sigs.k8s.io/yaml"

	"github.com/sampan-cloud/sampan/internal/base/fault"
	"github.com/sampan-cloud/sampan/internal/base/run"
	"github.com/sampan-cloud/sampan/internal/platform/gateway"
	"github.com/sampan-cloud/sampan/internal/platform/gateway/dns"
	dnsserver "github.com/sampan-cloud/sampan/internal/platform/gateway/dns/server"
	"github.com/sampan-cloud/sampan/internal/platform/gateway/server"
)

// Config is the configuration file.
type Config struct {
	DNS     dns.Config     `json:"dns"`
	Gateway gateway.Config `json:"gateway"`
}

// known are the parts by name.
var known = []string{"dns", "gateway"}

const usage = "usage: sampan-edge PART… --config FILE, where PART is dns or gateway"

// Main is the program. It returns the exit code.
func Main(ctx context.Context, args []string, version string, out, errOut io.Writer) int {
	if slices.Equal(args, []string{"version"}) {
		fmt.Fprintln(out, version)
		return 0
	}
	if len(args) == 2 && args[0] == "ready" {
		return ready(args[1])
	}
	log := slog.New(slog.NewTextHandler(errOut, nil))
	// CoreDNS writes with the standard logger, the Kubernetes client with slog's.
	slog.SetDefault(log)
	klog.SetSlogLogger(log)
	stdlog.SetOutput(levels{log})
	if err := serve(ctx, args, log); err != nil {
		fmt.Fprintln(errOut, "sampan-edge:", err)
		return 1
	}
	return 0
}

// ready tells, by the exit code, whether a part has made the file that says that
// it is ready. The kubelet asks so where asking over the network would reach
// another pod.
func ready(path string) int {
	if _, err := os.Stat(path); err != nil {
		return 1
	}
	return 0
}

func serve(ctx context.Context, args []string, log *slog.Logger) error {
	names, path, err := parse(args)
	if err != nil {
		return err
	}
	cfg, err := load(path)
	if err != nil {
		return err
	}
	group := run.Group{Notify: func(e run.Event) {
		if e.State != run.Starting {
			log.Info("part "+string(e.State), "part", e.Part, "took", e.Took, "err", e.Err)
		}
	}}
	for _, name := range names {
		part, err := newPart(name, cfg, log)
		if err != nil {
			return err
		}
		group.Parts = append(group.Parts, part)
	}
	return group.Run(ctx, func() {})
}

// newPart builds the part of a name that parse has passed.
func newPart(name string, cfg Config, log *slog.Logger) (run.Part, error) {
	part := run.Part{Name: name}
	log = log.With("part", name)
	switch name {
	case "dns":
		c := cfg.DNS.Defaulted()
		if err := c.Check(); err != nil {
			return part, err
		}
		part.Service = dnsserver.New(c, log)
	case "gateway":
		c := cfg.Gateway.Defaulted()
		if err := c.Check(); err != nil {
			return part, err
		}
		s, err := server.New(c, log)
		if err != nil {
			return part, err
		}
		// It waits for the API, and then for requests to end, as long as it takes.
		part.Service, part.Start, part.Stop = s, 24*time.Hour, c.DrainTime()+10*time.Second
	}
	return part, nil
}

// parse reads the command line with a flag set of its own: libraries have put
// theirs, such as "version", on the process's.
func parse(args []string) (names []string, path string, err error) {
	for len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		if !slices.Contains(known, args[0]) {
			return nil, "", fmt.Errorf("%s: no such part; %s: %w", args[0], usage, fault.Invalid)
		}
		names, args = append(names, args[0]), args[1:]
	}
	flags := flag.NewFlagSet("sampan-edge", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	config := flags.String("config", "", "configuration file")
	if err := flags.Parse(args); err != nil {
		return nil, "", fmt.Errorf("%w; %s: %w", err, usage, fault.Invalid)
	}
	if len(names) == 0 || *config == "" || flags.NArg() > 0 {
		return nil, "", fmt.Errorf("%s: %w", usage, fault.Invalid)
	}
	return names, *config, nil
}

// load reads the configuration file. An unknown key is an error: it would be
// one that somebody thinks is set.
func load(path string) (Config, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return Config{}, fmt.Errorf("read configuration: %w", err)
	}
	var cfg Config
	if err := yaml.UnmarshalStrict(bytes.TrimSpace(data), &cfg); err != nil {
		// The decoder's own words begin with how it reads YAML, which is no news.
		why := err.Error()
		if i := strings.LastIndex(why, "json: "); i >= 0 {
			why = why[i+len("json: "):]
		}
		return Config{}, fmt.Errorf("configuration %s: %s: %w", path, why, fault.Invalid)
	}
	return cfg, nil
}
