// Package cri serves the engine over the Kubernetes Container Runtime Interface,
// version 1, on a unix socket.
//
// It translates and nothing else: what a pod is, and what happens to it, is the
// engine's. Streams (exec, attach, port-forward) are served over HTTP on a
// loopback port, at URLs that can be used once.
package cri

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"google.golang.org/grpc"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/cri-streaming/pkg/streaming"

	"github.com/sampan-cloud/sampan/internal/node/engine"
)

// maxMessage is what the kubelet itself allows: lists of hundreds of pods pass
// the library's 4 MiB.
const maxMessage = 16 << 20

// Config holds the settings of a Server. Socket is required.
type Config struct {
	Socket   string       // path of the unix socket
	Streams  string       // address to serve streams on; empty is a free port of 127.0.0.1
	Version  string       // of the program
	ImageDir string       // where images lie, for the kubelet to measure the disk
	Network  func() error // tells why pods cannot be given a network; nil is always
}

// Server serves both of the interface's services.
type Server struct {
	runtime.UnimplementedRuntimeServiceServer
	runtime.UnimplementedImageServiceServer

	cfg     Config
	engine  *engine.Engine
	log     *slog.Logger
	streams streaming.Server
	cpu     cpuRates
	pulls   pullCounts
}

// New returns a server that Run starts.
func New(cfg Config, e *engine.Engine, log *slog.Logger) *Server {
	if cfg.Streams == "" {
		cfg.Streams = "127.0.0.1:0"
	}
	return &Server{cfg: cfg, engine: e, log: log}
}

// Run serves until ctx ends.
func (s *Server) Run(ctx context.Context, ready func()) error {
	streams, err := net.Listen("tcp", s.cfg.Streams)
	if err != nil {
		return fmt.Errorf("cri: streams: %w", err)
	}
	defer streams.Close()
	if err := s.openStreams(streams.Addr().String()); err != nil {
		return err
	}
	socket, err := listen(s.cfg.Socket)
	if err != nil {
		return fmt.Errorf("cri: %w", err)
	}
	server := grpc.NewServer(
		grpc.MaxRecvMsgSize(maxMessage), grpc.MaxSendMsgSize(maxMessage),
		grpc.UnaryInterceptor(s.unary), grpc.StreamInterceptor(s.stream))
	runtime.RegisterRuntimeServiceServer(server, s)
	runtime.RegisterImageServiceServer(server, s)
	web := &http.Server{Handler: s.streams, ReadHeaderTimeout: 30 * time.Second}

	var group sync.WaitGroup
	failed := make(chan error, 2)
	group.Go(func() { failed <- server.Serve(socket) })
	group.Go(func() { failed <- web.Serve(streams) })
	ready()
	select {
	case <-ctx.Done():
		err = nil
	case err = <-failed:
		err = fmt.Errorf("cri: %w", err)
	}
	// A watch of events never ends by itself, so there is nothing to be gained
	// from a graceful stop; calls under way see their contexts end.
	server.Stop()
	err = errors.Join(err, web.Close())
	group.Wait()
	return err
}

func (s *Server) openStreams(addr string) error {
	cfg := streaming.DefaultConfig
	cfg.Addr = addr
	cfg.BaseURL = &url.URL{Scheme: "http", Host: addr, Path: "/"}
	var err error
	if s.streams, err = streaming.NewServer(cfg, streamRuntime{s}); err != nil {
		return fmt.Errorf("cri: streams: %w", err)
	}
	return nil
}

// listen opens the socket for root only. A file that a killed daemon left is
// replaced; one that somebody serves is not.
func listen(path string) (net.Listener, error) {
	if c, err := net.Dial("unix", path); err == nil {
		c.Close()
		return nil, fmt.Errorf("socket %s is served by another process", path)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}
