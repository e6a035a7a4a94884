package app

import (
	"encoding/json"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/sampan-cloud/sampan/api/client"
	"github.com/sampan-cloud/sampan/internal/base/run"
)

// status remembers how far the parts are, and tells whoever asks.
type status struct {
	mu  sync.Mutex
	now client.Status
}

func newStatus(s client.Status) *status {
	s.PID, s.State, s.Since = os.Getpid(), "starting", time.Now()
	return &status{now: s}
}

// note takes in what happened to a part.
func (s *status) note(e run.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := client.Part{Name: e.Part, State: string(e.State), Took: e.Took}
	if e.Err != nil {
		p.Err = e.Err.Error()
	}
	for i := range s.now.Parts {
		if s.now.Parts[i].Name == e.Part {
			s.now.Parts[i] = p
			return
		}
	}
	s.now.Parts = append(s.now.Parts, p)
}

// ready says that everything has started.
func (s *status) ready() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now.State, s.now.Since = "ready", time.Now()
}

func (s *status) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(s.now)
}
