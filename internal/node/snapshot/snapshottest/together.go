package snapshottest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
)

// together is what holds when several do it at once.
var together = map[string]func(*testing.T, Opener){
	"the same layer is filled once": func(t *testing.T, open Opener) {
		s := fresh(t, open)
		var fills atomic.Int32
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				err := s.Commit(t.Context(), "a", "", func(_ context.Context, dir string, _ []string) error {
					fills.Add(1)
					return file("x", "y")(dir)
				})
				if err != nil || !s.Has(t.Context(), "a") {
					t.Errorf("Commit = %v, Has = %v", err, s.Has(t.Context(), "a"))
				}
			})
		}
		wg.Wait()
		if n := fills.Load(); n != 1 {
			t.Errorf("filled %d times, want once", n)
		}
	},

	"whoever waits goes on when the one who filled gives up": func(t *testing.T, open Opener) {
		s := fresh(t, open)
		ctx, giveUp := context.WithCancel(t.Context())
		filling, result := make(chan struct{}), make(chan error)
		go func() {
			result <- s.Commit(ctx, "a", "", func(ctx context.Context, _ string, _ []string) error {
				close(filling)
				<-ctx.Done()
				return ctx.Err()
			})
		}()
		<-filling
		if s.Has(t.Context(), "a") {
			t.Error("Has = true while the layer is filled")
		}
		other := make(chan error)
		go func() { other <- s.Commit(t.Context(), "a", "", layerOf(file("x", "y"))) }()
		giveUp()
		if err := <-result; !errors.Is(err, context.Canceled) {
			t.Errorf("Commit that gave up = %v, want canceled", err)
		}
		if err := <-other; err != nil || !s.Has(t.Context(), "a") {
			t.Errorf("Commit that waited = %v, Has = %v", err, s.Has(t.Context(), "a"))
		}
	},

	"a layer waits for the one below, and neither is collected meanwhile": func(t *testing.T, open Opener) {
		s := fresh(t, open)
		commit(t, s, "lowest", "", layerOf(file("x", "1")))
		filling, goOn, result := make(chan struct{}), make(chan struct{}), make(chan error, 2)
		go func() {
			result <- s.Commit(t.Context(), "a", "lowest", func(_ context.Context, dir string, _ []string) error {
				close(filling)
				<-goOn
				return file("y", "2")(dir)
			})
		}()
		<-filling
		go func() { result <- s.Commit(t.Context(), "b", "a", layerOf(file("z", "3"))) }()
		if _, err := s.Collect(t.Context(), nil); err != nil {
			t.Errorf("Collect = %v", err)
		}
		close(goOn)
		if err := errors.Join(<-result, <-result); err != nil {
			t.Fatalf("Commit: %v", err)
		}
		Mounted(t, prepare(t, s, "c", "b"), func(root string) error {
			return wants(root, map[string]string{"x": "1", "y": "2", "z": "3"})
		})
	},

	"a layer made ahead is filled at once, and there after the one below": func(t *testing.T, open Opener) {
		s := fresh(t, open)
		filling, goOn, result := make(chan struct{}), make(chan struct{}), make(chan error, 2)
		go func() {
			result <- s.Commit(t.Context(), "a", "", func(_ context.Context, dir string, _ []string) error {
				close(filling)
				<-goOn
				return file("x", "1")(dir)
			})
		}()
		<-filling
		filled := make(chan struct{})
		go func() {
			result <- s.CommitAhead(t.Context(), "b", "a", func(ctx context.Context, dir string, below func(context.Context) ([]string, error)) error {
				err := file("y", "2")(dir)
				close(filled)
				dirs, belowErr := below(ctx)
				if belowErr == nil && len(dirs) == 1 {
					belowErr = wants(dirs[0], map[string]string{"x": "1"})
				}
				return errors.Join(err, belowErr)
			})
		}()
		<-filled
		if _, err := s.Collect(t.Context(), nil); err != nil {
			t.Errorf("Collect = %v", err)
		}
		if s.Has(t.Context(), "b") {
			t.Error("it is there before the one below")
		}
		close(goOn)
		if err := errors.Join(<-result, <-result); err != nil {
			t.Fatalf("Commit: %v", err)
		}
		Mounted(t, prepare(t, s, "c", "b"), func(root string) error {
			return wants(root, map[string]string{"x": "1", "y": "2"})
		})
	},

	"a layer made ahead of one that fails is not there": func(t *testing.T, open Opener) {
		s := fresh(t, open)
		broken := errors.New("broken")
		filling, goOn, result := make(chan struct{}), make(chan struct{}), make(chan error, 1)
		go func() {
			result <- s.Commit(t.Context(), "a", "", func(context.Context, string, []string) error {
				close(filling)
				<-goOn
				return broken
			})
		}()
		<-filling
		// Its fill does not ask for what is below, and would do well.
		err := s.CommitAhead(t.Context(), "b", "a", func(_ context.Context, dir string, _ func(context.Context) ([]string, error)) error {
			close(goOn)
			return file("y", "2")(dir)
		})
		if first := <-result; !errors.Is(first, broken) || !errors.Is(err, broken) {
			t.Errorf("Commit = %v, CommitAhead on it = %v; want both broken", first, err)
		}
		if s.Has(t.Context(), "a") || s.Has(t.Context(), "b") {
			t.Error("a layer is there that failed, or that stands on one")
		}
		commit(t, s, "a", "", layerOf(file("x", "1")))
		commit(t, s, "b", "a", layerOf(file("y", "2")))
	},

	"filesystems come and go while layers are collected": func(t *testing.T, open Opener) {
		s := fresh(t, open)
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				for j := range 10 {
					key, name := fmt.Sprintf("layer-%d", i%4), fmt.Sprintf("c-%d-%d", i, j)
					if err := s.Commit(t.Context(), key, "", layerOf(file("x", key))); err != nil {
						t.Errorf("Commit(%s) = %v", key, err)
					}
					// A layer that was just collected is not found: then there is nothing to remove.
					if _, err := s.Prepare(t.Context(), name, key); err == nil {
						if !s.Has(t.Context(), key) {
							t.Errorf("layer %s was collected below %s", key, name)
						}
						if err := s.Remove(t.Context(), name); err != nil {
							t.Errorf("Remove(%s) = %v", name, err)
						}
					}
					if _, err := s.Collect(t.Context(), nil); err != nil {
						t.Errorf("Collect = %v", err)
					}
				}
			})
		}
		wg.Wait()
	},
}
