package engine

import (
	"context"
	"sync"
	"time"
)

// EventType says what happened to a container or a pod.
type EventType string

// The types of event.
const (
	EventCreated EventType = "created"
	EventStarted EventType = "started"
	EventStopped EventType = "stopped"
	EventDeleted EventType = "deleted"
)

// Event tells that something happened. For events of a pod itself ContainerID
// is the pod's ID. Pod and Containers are as they were just after it.
type Event struct {
	Type        EventType
	Time        time.Time
	Owner       string
	PodID       string
	ContainerID string
	Pod         *Pod
	Containers  []Container
}

// listenerBacklog is how many events a listener may lag behind. One that lags
// further is cut off, and has to list everything anew.
const listenerBacklog = 4096

// hub hands events to those who listen. publish never waits.
type hub struct {
	mu        sync.Mutex
	listeners map[chan Event]string // channel → owner
}

func newHub() *hub { return &hub{listeners: map[chan Event]string{}} }

// Events delivers what happens to the owner's pods from now on. The channel is
// closed when ctx ends or the listener is too slow.
func (e *Engine) Events(ctx context.Context, owner string) <-chan Event {
	ch := make(chan Event, listenerBacklog)
	e.hub.mu.Lock()
	e.hub.listeners[ch] = owner
	e.hub.mu.Unlock()
	context.AfterFunc(ctx, func() { e.hub.drop(ch) })
	return ch
}

func (h *hub) drop(ch chan Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, ok := h.listeners[ch]; ok {
		delete(h.listeners, ch)
		close(ch)
	}
}

// wanted tells whether anybody listens to owner: an event costs a copy of all
// the pod's containers.
func (h *hub) wanted(owner string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, o := range h.listeners {
		if o == owner {
			return true
		}
	}
	return false
}

func (h *hub) publish(ev Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for ch, owner := range h.listeners {
		if owner != ev.Owner {
			continue
		}
		select {
		case ch <- ev:
		default:
			delete(h.listeners, ch)
			close(ch)
		}
	}
}

// tell publishes an event about a container of pod, or about the pod itself.
func (e *Engine) tell(t EventType, p *pod, containerID string) {
	rec := p.get()
	if !e.hub.wanted(rec.Config.Owner) {
		return
	}
	e.hub.publish(Event{
		Type: t, Time: time.Now(), Owner: rec.Config.Owner, PodID: rec.ID,
		ContainerID: containerID, Pod: &rec, Containers: e.ContainersOf(rec.ID),
	})
}
