package run

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

// blocks is a service that is ready at once and runs until it is stopped.
func blocks(ctx context.Context, ready func()) error {
	ready()
	<-ctx.Done()
	return nil
}

func TestPartsStartInOrderAndStopInReverse(t *testing.T) {
	var log []string
	g := Group{Notify: func(e Event) { log = append(log, e.Part+" "+string(e.State)) }}
	for _, n := range []string{"a", "b", "c"} {
		g.Parts = append(g.Parts, Part{Name: n, Service: Func(blocks)})
	}
	ctx, cancel := context.WithCancel(t.Context())
	if err := g.Run(ctx, cancel); err != nil {
		t.Fatalf("Run = %v, want nil", err)
	}
	want := []string{"a starting", "a ready", "b starting", "b ready", "c starting", "c ready", "c stopped", "b stopped", "a stopped"}
	if !slices.Equal(log, want) {
		t.Errorf("events = %q, want %q", log, want)
	}
}

func TestAFailureNamesThePartAndStopsTheOthers(t *testing.T) {
	broken := errors.New("port taken")
	for name, tt := range map[string]struct {
		part Part
		want string
	}{
		"before it is ready":   {Part{Name: "b", Service: Func(func(context.Context, func()) error { return broken })}, "b: port taken"},
		"after it was ready":   {Part{Name: "b", Service: Func(func(_ context.Context, ready func()) error { ready(); return broken })}, "b: port taken"},
		"without an error":     {Part{Name: "b", Service: Func(func(context.Context, func()) error { return nil })}, "b: ended by itself"},
		"by never being ready": {Part{Name: "b", Start: time.Millisecond, Service: Func(func(ctx context.Context, _ func()) error { <-ctx.Done(); return nil })}, "b: not ready after 1ms"},
	} {
		t.Run(name, func(t *testing.T) {
			stopped := false
			first := Part{Name: "a", Service: Func(func(ctx context.Context, ready func()) error {
				defer func() { stopped = true }()
				return blocks(ctx, ready)
			})}
			g := Group{Parts: []Part{first, tt.part}}
			err := g.Run(t.Context(), func() {})
			if err == nil || err.Error() != tt.want {
				t.Errorf("Run = %v, want %s", err, tt.want)
			}
			if !stopped {
				t.Error("part a was not stopped")
			}
		})
	}
}

func TestAPartThatDoesNotStopIsNamed(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	g := Group{Parts: []Part{{Name: "stuck", Stop: time.Millisecond, Service: Func(func(_ context.Context, ready func()) error {
		ready()
		<-release
		return nil
	})}}}
	ctx, cancel := context.WithCancel(t.Context())
	err := g.Run(ctx, cancel)
	if err == nil || !strings.HasPrefix(err.Error(), "stuck: still running") {
		t.Errorf("Run = %v, want an error that names the part", err)
	}
}
