package kube

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/sampan-cloud/sampan/internal/base/run"
)

const (
	firstPause  = time.Second
	longestWait = 30 * time.Second
	// healthyAfter is how long a component must have run for its next end to
	// count as a first one.
	healthyAfter = 2 * time.Minute
)

var errEnded = errors.New("ended by itself")

// supervisor runs a service again when it ends or panics.
type supervisor struct {
	name    string
	service run.Service
	log     *slog.Logger
	pause   time.Duration // before the first restart
}

func (c *Cluster) supervised(name string, s run.Service) run.Service {
	return &supervisor{name: name, service: s, log: c.log, pause: firstPause}
}

// Run returns an error only when the service failed before it was ever ready:
// what never worked (a port that is taken, a broken file) is for whoever
// started the cluster to see.
func (s *supervisor) Run(ctx context.Context, ready func()) error {
	wasReady := false
	pause := s.pause
	for {
		began := time.Now()
		err := protect(func() error {
			return s.service.Run(ctx, func() { wasReady = true; ready() })
		})
		if ctx.Err() != nil {
			return nil
		}
		if err == nil {
			err = errEnded
		}
		if !wasReady {
			return err
		}
		if time.Since(began) > healthyAfter {
			pause = s.pause
		}
		s.log.Error("component ended, starting it again", "component", s.name, "in", pause, "err", err)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil
		}
		pause = min(2*pause, longestWait)
	}
}

// protect turns a panic in f's own goroutine into an error. A panic in one of
// upstream's goroutines ends the process, as upstream means it to.
func protect(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return f()
}
