// Command web is both ends of what is measured of a proxy: the server behind it
// and the clients in front of it.
//
//	web backend -listen ADDR [-delay T]              answers every request with a few words
//	web paced -addr ADDR -rate N -connections N -for T   asks at an even pace, prints quantiles
//	web idle -addr ADDR -connections N -local PREFIX     holds connections until its input ends
//	web press -addr ADDR -rate N -connections N          asks until its input ends, and says for each line of it how it went
//	web step -addr ADDR -connections N -copies N         asks over all at once until so many copies have answered
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
		return errors.New("backend, paced, idle, press or step?")
	}
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	listen := flags.String("listen", "", "`address` to answer at")
	addr := flags.String("addr", "", "`address` to ask")
	host := flags.String("host", "web.bench.test", "the name that is asked for")
	rate := flags.Float64("rate", 1000, "requests a second, of all connections together")
	connections := flags.Int("connections", 1, "`number` of connections")
	length := flags.Duration("for", time.Second, "`time` to ask for")
	local := flags.Int("local", 1, "third `number` of the addresses 127.0.X.1 that connections come from")
	delay := flags.Duration("delay", 0, "`time` to think about each answer")
	copies := flags.Int("copies", 1, "`number` of copies that must have answered")
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	asked := request{addr: *addr, text: "GET / HTTP/1.1\r\nHost: " + *host + "\r\n\r\n"}
	switch args[0] {
	case "backend":
		return backend(ctx, *listen, *delay)
	case "paced":
		return paced(ctx, asked, *rate, *connections, *length)
	case "idle":
		return idle(ctx, asked, *connections, *local)
	case "press":
		return press(ctx, asked, *rate, *connections)
	case "step":
		return step(ctx, asked, *connections, *copies)
	}
	return fmt.Errorf("%s: not backend, paced, idle, press or step", args[0])
}
