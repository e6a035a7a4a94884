// Command gateway is the gateway without Kubernetes, for what is promised of the
// gateway alone: the same server, fed by an API that exists in its own memory.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"syscall"

	"github.com/sampan-cloud/sampan/internal/base/run"
	"github.com/sampan-cloud/sampan/internal/platform/gateway"
	"github.com/sampan-cloud/sampan/internal/platform/gateway/server"
)

func main() {
	var s settings
	flag.IntVar(&s.http, "http", 0, "port for requests")
	flag.StringVar(&s.backend, "backend", "", "`address` that requests go to")
	flag.IntVar(&s.routes, "routes", 1, "`number` of routes, web.bench.test and others")
	flag.StringVar(&s.admin, "admin", "", "`address` of counters")
	flag.StringVar(&s.control, "control", "", "`address` at which POST /NAME makes a route for NAME.bench.test, and GET / tells whether all have their conditions")
	flag.StringVar(&s.data, "data", "", "data directory")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := serve(ctx, s, slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})))
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "gateway:", err)
		os.Exit(1)
	}
}

type settings struct {
	http, routes                  int
	backend, admin, control, data string
}

func serve(ctx context.Context, s settings, log *slog.Logger) error {
	a := newAPI(s.http)
	if err := a.fill(ctx, s); err != nil {
		return err
	}
	cfg := gateway.Config{HTTPPort: s.http, HTTPSPort: s.http + 1, Admin: s.admin, DataDir: s.data, Drain: "1s"}
	control := &http.Server{Addr: s.control, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			if err := a.route(r.Context(), r.URL.Path[1:]); err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
			}
			return
		}
		if !a.settled() {
			http.Error(w, "conditions are being written", http.StatusServiceUnavailable)
		}
	})}
	group := run.Group{Parts: []run.Part{
		{Name: "gateway", Service: server.NewWith(cfg, a.clients, log)},
		{Name: "control", Service: run.Func(func(ctx context.Context, ready func()) error {
			defer context.AfterFunc(ctx, func() { control.Close() })()
			ready()
			if err := control.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
				return err
			}
			return nil
		})},
	}}
	return group.Run(ctx, func() {})
}
