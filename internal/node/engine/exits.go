package engine

import (
	"strings"

	"github.com/sampan-cloud/sampan/internal/node/container"
)

// exited records how a container ended. Hearing of the same end twice changes
// nothing.
func (e *Engine) exited(exit container.Exit) {
	e.mu.Lock()
	c := e.containers.byID[exit.ID]
	p := e.pods.byID[strings.TrimSuffix(exit.ID, "-pause")]
	e.mu.Unlock()
	if c == nil {
		if p != nil {
			e.podLost(p)
		}
		return
	}
	c.mu.Lock()
	if c.rec.State == Exited {
		c.mu.Unlock()
		return
	}
	c.rec.end(exit.Status)
	rec := c.rec.clone()
	c.mu.Unlock()
	c.ended()
	e.tell(EventStopped, c.pod, rec.ID)
	e.saveUnlessRemoved(c, &rec)
}

// saveUnlessRemoved writes a record that nobody waits for. A remove that came in
// between has taken the directory away and wins.
func (e *Engine) saveUnlessRemoved(c *ctr, rec *Container) {
	e.mu.Lock()
	_, there := e.containers.byID[rec.ID]
	e.mu.Unlock()
	if there {
		e.save(rec)
	}
}

// end fills in how the container ended.
func (c *Container) end(st container.Status) {
	if !st.Started.IsZero() {
		c.Started = st.Started
	}
	c.State, c.Finished, c.Code, c.Message, c.PID = Exited, st.Finished, st.Code, st.Reason, 0
	switch {
	case st.OOM:
		c.Reason = ReasonOOM
	case st.Code == 0:
		c.Reason = ReasonCompleted
	default:
		c.Reason = ReasonError
	}
}

// podLost marks a pod whose namespaces are gone: its containers cannot be
// started again.
func (e *Engine) podLost(p *pod) {
	p.mu.Lock()
	if p.rec.State == PodNotReady {
		p.mu.Unlock()
		return
	}
	p.rec.State = PodNotReady
	rec := p.rec.clone()
	p.mu.Unlock()
	e.tell(EventStopped, p, rec.ID)
	if err := e.records.savePod(&rec); err != nil {
		e.log.Warn("pod record not written", "pod", rec.ID, "err", err)
	}
}
