// Package server is CoreDNS, with what a cluster needs of it.
//
// CoreDNS and the Caddy it is made of keep state in package variables and put
// flags on the process's own flag set, so a program runs one Server at a time
// and reads its arguments with a flag set of its own.
package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	_ "github.com/coredns/coredns/plugin/bind"
	_ "github.com/coredns/coredns/plugin/cache"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/forward"
	_ "github.com/coredns/coredns/plugin/health"
	_ "github.com/coredns/coredns/plugin/kubernetes"
	_ "github.com/coredns/coredns/plugin/loadbalance"
	_ "github.com/coredns/coredns/plugin/metrics"
	_ "github.com/coredns/coredns/plugin/ready"

	"github.com/sampan-cloud/sampan/internal/platform/gateway/dns"
)

// Server answers DNS.
type Server struct {
	cfg dns.Config
	log *slog.Logger
}

// New returns a Server of these settings.
func New(cfg dns.Config, log *slog.Logger) *Server {
	return &Server{cfg: cfg.Defaulted(), log: log}
}

// Run answers until ctx ends. It is ready when it knows the cluster's names, or
// after five seconds without an answer from the API: other names can be
// answered then, and the pod's readiness says that the cluster's cannot.
func (s *Server) Run(ctx context.Context, ready func()) error {
	corefile, err := s.cfg.Corefile()
	if err != nil {
		return err
	}
	// Both print banners to standard output.
	caddy.Quiet, dnsserver.Quiet = true, true
	instance, err := caddy.Start(caddy.CaddyfileInput{Contents: []byte(corefile), Filepath: "Corefile", ServerTypeName: "dns"})
	if err != nil {
		return fmt.Errorf("start dns: %w", err)
	}
	for _, listener := range instance.Servers() {
		s.log.Info("answering dns", "udp", listener.LocalAddr(), "tcp", listener.Addr(), "domain", s.cfg.Domain)
	}
	ready()
	<-ctx.Done()
	// The callbacks first: they keep answering for a moment, as lame ducks, while
	// clients learn that this server goes.
	err = errors.Join(instance.ShutdownCallbacks()...)
	if err := errors.Join(err, instance.Stop()); err != nil {
		return fmt.Errorf("stop dns: %w", err)
	}
	instance.Wait()
	return nil
}
