package server

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
)

// doors are the listeners that connections come in by.
type doors struct {
	mu   sync.Mutex
	open []net.Listener
}

func (d *doors) add(l net.Listener) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.open = append(d.open, l)
}

// close ends accepting. Those that Caddy has closed already say so, which is
// nothing to tell.
func (d *doors) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, l := range d.open {
		_ = l.Close()
	}
	d.open = nil
}

// lameDuck is the most that is waited for clients to learn that they are to come
// back on another connection.
const lameDuck = 5 * time.Second

// stop hands users over to the next gateway, which listens on the same ports by
// now, without a failed request. First no connection is accepted any more, so
// all new ones are the successor's. Then every answer on the old ones asks the
// client to connect anew: to close a connection that seems idle could meet a
// request that is on its way. What is left after that is closed when it has
// nothing under way, for as long as the settings say.
func (s *Server) stop() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.draining.Store(true)
	s.streams.Close()
	// Connections that are not HTTP have no way to be asked to come back.
	ctx, cancel := context.WithTimeout(context.Background(), s.cfg.DrainTime())
	defer cancel()
	if !s.told {
		s.streams.Wait(ctx)
		return nil
	}
	s.doors.close()
	time.Sleep(min(lameDuck, s.cfg.DrainTime()/4))
	var lines sync.WaitGroup
	lines.Go(func() { s.fronts.drain(ctx) })
	err := caddy.Stop()
	lines.Wait()
	s.fronts.parts.Wait()
	if err != nil {
		return fmt.Errorf("gateway: stop: %w", err)
	}
	s.streams.Wait(ctx)
	s.proxy.Wait()
	return nil
}
