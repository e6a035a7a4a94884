package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/sampan-cloud/sampan/internal/base/run"
)

// serveUnix serves h on a unix socket that only root may open. It runs in a
// process that holds the data directory's lock, so a socket that is there
// already is one that a killed daemon left.
func serveUnix(path string, h http.Handler) run.Service {
	return run.Func(func(ctx context.Context, ready func()) error {
		if err := os.MkdirAll(filepath.Dir(path), 0o711); err != nil {
			return err
		}
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		l, err := net.Listen("unix", path)
		if err != nil {
			return fmt.Errorf("local socket: %w", err)
		}
		if err := os.Chmod(path, 0o600); err != nil {
			l.Close()
			return err
		}
		s := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
		served := make(chan error, 1)
		go func() { served <- s.Serve(l) }()
		ready()
		select {
		case err := <-served:
			return err
		case <-ctx.Done():
		}
		// Those who follow logs would stay for ever.
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		if s.Shutdown(closing) != nil {
			s.Close()
		}
		<-served
		return nil
	})
}
