// Command web is both ends of what is measured of a proxy: the server behind it
// and the clients in front of it.
//
//	web backend -listen ADDR                         answers every request with a few words
//	web paced -addr ADDR -rate N -connections N -for T   asks at an even pace, prints quantiles
//	web idle -addr ADDR -connections N -local PREFIX     holds connections until its input ends
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "web:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errors.New("backend, paced or idle?")
	}
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	listen := flags.String("listen", "", "`address` to answer at")
	addr := flags.String("addr", "", "`address` to ask")
	host := flags.String("host", "web.bench.test", "the name that is asked for")
	rate := flags.Float64("rate", 1000, "requests a second, of all connections together")
	connections := flags.Int("connections", 1, "`number` of connections")
	length := flags.Duration("for", time.Second, "`time` to ask for")
	local := flags.Int("local", 1, "third `number` of the addresses 127.0.X.1 that connections come from")
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	asked := request{addr: *addr, text: "GET / HTTP/1.1\r\nHost: " + *host + "\r\n\r\n"}
	switch args[0] {
	case "backend":
		return backend(ctx, *listen)
	case "paced":
		return paced(ctx, asked, *rate, *connections, *length)
	case "idle":
		return idle(ctx, asked, *connections, *local)
	}
	return fmt.Errorf("%s: not backend, paced or idle", args[0])
}
