package compose

import (
	"context"
	"encoding/json"
	"flag"
	"io"
	"os"
	"strings"
)

// Main reads the files that args name and writes the Result as JSON, for the
// command line, which runs it as a program of its own.
func Main(ctx context.Context, args []string, in io.Reader, out, errOut io.Writer) error {
	cfg := Config{Input: in, Env: os.Environ()}
	fs := flag.NewFlagSet("compose", flag.ContinueOnError)
	fs.SetOutput(errOut)
	fs.Func("profile", "`name` of a profile that is switched on; may be repeated", func(s string) error {
		cfg.Profiles = append(cfg.Profiles, strings.TrimSpace(s))
		return nil
	})
	if err := fs.Parse(args); err != nil {
		return err
	}
	cfg.Files = fs.Args()
	result, err := Read(ctx, cfg)
	if err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(result)
}
