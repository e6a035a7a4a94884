package engine_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"testing"

	"github.com/sampan-cloud/sampan/internal/base/fault"
	"github.com/sampan-cloud/sampan/internal/node/engine"
)

// scopes keeps what it is asked for in memory.
type scopes struct {
	held map[string]string // pod to path
	fail error
}

func (s *scopes) Hold(_ context.Context, parent, pod string) (string, error) {
	if s.fail != nil {
		return "", s.fail
	}
	s.held[pod] = parent + "/" + pod + ".scope"
	return s.held[pod], nil
}

func (s *scopes) Release(_ context.Context, pod, path string) error {
	if have := s.held[pod]; have != "" && path != "" && have != path {
		return errors.New("released with another path")
	}
	delete(s.held, pod)
	return nil
}

func TestPodsCgroupsAreKeptByScopes(t *testing.T) {
	w := newWorld(t)
	w.stop()
	kept := &scopes{held: map[string]string{}}
	w.scopes = kept
	w.start()
	if !w.SystemdCgroups() {
		t.Error("SystemdCgroups = false")
	}
	p, err := w.RunPod(t.Context(), engine.PodConfig{Owner: "cri", Name: "web", CgroupParent: "/pods.slice"})
	if err != nil {
		t.Fatal(err)
	}
	delete(kept.held, p.ID) // somebody has ended it
	c := w.started(p, "main")
	if got, want := w.runtime.Started[c.ID].OCI.Linux.CgroupsPath, "/pods.slice/"+p.ID+".scope/"+c.ID; got != want {
		t.Errorf("the container's cgroup is %s, want %s", got, want)
	}
	if kept.held[p.ID] == "" {
		t.Error("a scope that was lost is not made anew for the next container")
	}
	w.stop()
	w.start()
	if err := w.RemovePod(t.Context(), "cri", p.ID); err != nil {
		t.Fatal(err)
	}
	if len(kept.held) > 0 {
		t.Errorf("left: %v", slices.Collect(maps.Values(kept.held)))
	}
	kept.fail = fault.Unavailable
	if _, err := w.RunPod(t.Context(), engine.PodConfig{Owner: "cri", Name: "next"}); fault.Of(err) != fault.Unavailable {
		t.Errorf("RunPod without a scope = %v, want %v", err, fault.Unavailable)
	}
	w.left()
}
