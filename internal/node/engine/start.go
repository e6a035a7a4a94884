package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/internal/base/fault"
	"github.com/sampan-cloud/sampan/internal/node/container"
)

// startErrorCode is the exit code of a container whose program could not be
// started, as the kubelet expects it.
const startErrorCode = 128

// StartContainer starts the first process of a container that has not been
// started. A container that fails to start has ended, with ReasonStartError.
func (e *Engine) StartContainer(ctx context.Context, owner, id string) error {
	c, err := e.findContainer(owner, id)
	if err != nil {
		return err
	}
	c.op.Lock()
	defer c.op.Unlock()
	rec := c.get()
	if rec.State != Created {
		return fmt.Errorf("start container %s: it is %s: %w", rec.ID, rec.State, fault.Precondition)
	}
	if _, err := c.pod.ready(); err != nil {
		return fmt.Errorf("start container %s: %w", rec.ID, err)
	}
	if c.spec == nil {
		spec, err := e.records.loadSpec(&rec)
		if err != nil {
			return fmt.Errorf("start container %s: %w", rec.ID, err)
		}
		c.spec = &spec
	}
	var st container.Status
	err = e.gate.do(ctx, startingContainer, func() (err error) {
		st, err = e.parts.Runtime.Start(ctx, *c.spec)
		return err
	})
	if c.spec.Restore != nil {
		if err := os.RemoveAll(string(e.savedDir(rec.ID))); err != nil {
			e.log.Warn("a restored checkpoint stays on the disk", "container", rec.ID, "err", err)
		}
	}
	c.spec = nil // a container is started once
	if err != nil {
		if r := rec.Config.Resources; r != nil && r.Memory > 0 && errors.Is(err, unix.ENOMEM) {
			err = fmt.Errorf("resources.memory_limit_in_bytes: %d are too few to start in: %w: %w", r.Memory, fault.Precondition, err)
		}
		e.startFailed(c, err)
		return err // it names the container and the step
	}
	c.mu.Lock()
	// A short program may have ended, and been recorded, by now.
	c.rec.Started = st.Started
	if c.rec.State == Created {
		c.rec.State, c.rec.PID = Running, st.PID
	}
	c.mu.Unlock()
	e.tell(EventStarted, c.pod, rec.ID)
	return nil
}

func (e *Engine) startFailed(c *ctr, err error) {
	c.mu.Lock()
	now := time.Now()
	c.rec.State, c.rec.Reason, c.rec.Code = Exited, ReasonStartError, startErrorCode
	c.rec.Message, c.rec.Finished = err.Error(), now
	rec := c.rec.clone()
	c.mu.Unlock()
	c.ended()
	e.save(&rec)
	e.tell(EventStopped, c.pod, rec.ID)
}
