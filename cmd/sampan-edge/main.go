// Command sampan-edge is what users' traffic passes through: gateway and DNS. It
// is an ordinary pod on each node, from an image that sampan carries.
//
//	sampan-edge dns --config FILE        answer the cluster's names
//	sampan-edge gateway --config FILE    take users' requests to their apps
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/sampan-cloud/sampan/internal/app/edge"
)

// version is set by the build.
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := edge.Main(ctx, os.Args[1:], version, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}
