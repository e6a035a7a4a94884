package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// killWait is how long the kernel may take to end a process after SIGKILL. One
// that hangs in a system call on a dead disk or mount can take for ever.
const killWait = 30 * time.Second

// StopContainer sends the stop signal, waits up to timeout and then kills. A
// negative timeout is the engine's usual one. A container that does not run is
// stopped already. Calls for one container may overlap: the shortest decides.
func (e *Engine) StopContainer(ctx context.Context, owner, id string, timeout time.Duration) error {
	c, err := e.findContainer(owner, id)
	if err != nil {
		return err
	}
	return e.stop(ctx, c, timeout)
}

func (e *Engine) stop(ctx context.Context, c *ctr, timeout time.Duration) error {
	if timeout < 0 {
		timeout = e.cfg.StopTimeout
	}
	rec := c.get()
	switch rec.State {
	case Exited:
		return nil
	case Created:
		// A start may be under way: it holds op. After it, look again.
		c.op.Lock()
		rec = c.get()
		if rec.State == Created {
			e.neverStarted(c)
		}
		c.op.Unlock()
		if rec.State == Created {
			return nil
		}
	}
	if timeout > 0 {
		n, err := signalNumber(rec.StopSignal)
		if err != nil {
			return fmt.Errorf("stop container %s: %w", rec.ID, err)
		}
		began := time.Now()
		untilCaught(ctx, c, rec.PID, n, timeout)
		if err := e.signal(ctx, c, rec.StopSignal); err != nil {
			return fmt.Errorf("stop container %s: %w", rec.ID, err)
		}
		switch err := c.wait(ctx, timeout-time.Since(began)); {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return fmt.Errorf("stop container %s: %w", rec.ID, err)
		}
	}
	if err := e.signal(ctx, c, "SIGKILL"); err != nil {
		return fmt.Errorf("stop container %s: %w", rec.ID, err)
	}
	if err := c.wait(ctx, killWait); err != nil {
		return fmt.Errorf("stop container %s: after SIGKILL: %w", rec.ID, err)
	}
	return nil
}

// neverStarted ends a container that was made and not started. The caller holds
// c.op.
func (e *Engine) neverStarted(c *ctr) {
	c.mu.Lock()
	c.rec.State, c.rec.Finished, c.rec.Code, c.rec.Reason = Exited, time.Now(), 255, ReasonUnknown
	c.rec.Message = "stopped before it was started"
	rec := c.rec.clone()
	c.mu.Unlock()
	c.ended()
	e.save(&rec)
	e.tell(EventStopped, c.pod, rec.ID)
}

// Signal sends a signal by name (SIGHUP, HUP or 1) to a running container.
func (e *Engine) Signal(ctx context.Context, owner, id, signal string) error {
	c, err := e.findContainer(owner, id)
	if err != nil {
		return err
	}
	if c.get().State != Running {
		return fmt.Errorf("signal container %s: it does not run: %w", id, fault.Precondition)
	}
	return e.signal(ctx, c, signal)
}

// signal sends a signal to the first process, SIGKILL to all of them: where the
// process namespace is shared, the death of the first does not end the others.
func (e *Engine) signal(ctx context.Context, c *ctr, name string) error {
	n, err := signalNumber(name)
	if err != nil {
		return err
	}
	err = e.parts.Runtime.Signal(ctx, c.rec.ID, n, n == sigKill)
	if errors.Is(err, unix.ESRCH) || fault.Of(err) == fault.NotFound || fault.Of(err) == fault.Precondition {
		return nil // it ended meanwhile; whoever waits will see it
	}
	return err
}

// wait returns once the container has ended and that is recorded.
func (c *ctr) wait(ctx context.Context, limit time.Duration) error {
	t := time.NewTimer(limit)
	defer t.Stop()
	select {
	case <-c.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return fmt.Errorf("still running after %s: %w", limit, fault.Timeout)
	}
}

// WaitContainer returns once the container has ended.
func (e *Engine) WaitContainer(ctx context.Context, owner, id string) (Container, error) {
	c, err := e.findContainer(owner, id)
	if err != nil {
		return Container{}, err
	}
	select {
	case <-c.done:
		return c.get(), nil
	case <-ctx.Done():
		return Container{}, fmt.Errorf("wait for container %s: %w", id, ctx.Err())
	}
}

// RemoveContainer forgets a container and its files; one that runs is killed
// first. Removing an unknown container is not an error.
func (e *Engine) RemoveContainer(ctx context.Context, owner, id string) error {
	c, err := e.findContainer(owner, id)
	if fault.Of(err) == fault.NotFound {
		return nil
	}
	if err != nil {
		return err
	}
	return e.remove(ctx, c)
}

func (e *Engine) remove(ctx context.Context, c *ctr) error {
	if err := e.stop(ctx, c, 0); err != nil {
		return err
	}
	c.op.Lock()
	defer c.op.Unlock()
	rec := c.get()
	e.mu.Lock()
	_, there := e.containers.byID[rec.ID]
	e.mu.Unlock()
	if !there {
		return nil // another call has just removed it
	}
	ctx, cancel := cleanup(ctx)
	defer cancel()
	if err := e.parts.Runtime.Delete(ctx, rec.ID); err != nil {
		return fmt.Errorf("remove container %s: %w", rec.ID, err)
	}
	e.mu.Lock()
	delete(e.containers.byID, rec.ID)
	e.mu.Unlock()
	if err := e.releaseContainer(ctx, &rec); err != nil {
		e.mu.Lock()
		e.containers.byID[rec.ID] = c // so that the call can be repeated
		e.mu.Unlock()
		return fmt.Errorf("remove container %s: %w", rec.ID, err)
	}
	e.mu.Lock()
	e.containers.release(containerName(rec.PodID, &rec.Config), rec.ID)
	e.mu.Unlock()
	e.tell(EventDeleted, c.pod, rec.ID)
	return nil
}
