// Command sampand is the daemon of a node: Kubernetes, the engine, the registry,
// in one process. Users start it with `sampan up`; it is carried by sampan.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/sampan-cloud/sampan/internal/app"
)

// version is set by the build.
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := app.Main(ctx, os.Args[1:], version, os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}
