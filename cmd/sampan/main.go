// Command sampan is the command line of a container cloud. The one file that
// users install: it carries the daemon, the keeper and the edge, and writes them
// out on `sampan up`.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/sampan-cloud/sampan/internal/front/cli"
)

// version is set by the build.
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	env := cli.Env{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Getenv: os.Getenv, Version: version}
	code := cli.Main(ctx, env, os.Args[1:])
	stop()
	os.Exit(code)
}
