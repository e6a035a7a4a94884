package engine

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
)

// letIn has waiters come to a gate of one place, which is taken, in the given
// order, and returns in which order they got in.
func letIn(t *testing.T, come ...step) (order []int) {
	g := newGate(1)
	done := make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() { g.do(t.Context(), startingContainer, func() error { <-done; return nil }) })
	synctest.Wait()
	for i, s := range come {
		all.Go(func() {
			if err := g.do(t.Context(), s, func() error { order = append(order, i); return nil }); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait() // so that they come one after the other
	}
	close(done)
	all.Wait()
	if g.free != 1 {
		t.Errorf("%d places are free in the end, want 1", g.free)
	}
	return order
}

func TestTheGateFinishesWhatHasBegun(t *testing.T) {
	for name, tt := range map[string]struct {
		come []step
		want []int
	}{
		"of one step whoever came first":       {[]step{makingPod, makingPod, makingPod}, []int{0, 1, 2}},
		"of several whoever has come furthest": {[]step{makingPod, makingContainer, makingPod, startingContainer, makingContainer}, []int{3, 1, 4, 0, 2}},
		"but at times whoever has waited longest": {
			append([]step{makingPod, makingPod}, slices.Repeat([]step{startingContainer}, longestWaiter+2)...),
			slices.Concat(upTo(2, longestWaiter), []int{0}, upTo(longestWaiter+1, longestWaiter+3), []int{1}),
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if got := letIn(t, tt.come...); !slices.Equal(got, tt.want) {
					t.Errorf("they got in as %v, want %v", got, tt.want)
				}
			})
		})
	}
}

func upTo(from, to int) (all []int) {
	for i := from; i <= to; i++ {
		all = append(all, i)
	}
	return all
}

func TestWhoeverGivesUpAtTheGateTakesNoPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(1)
		done := make(chan struct{})
		var all sync.WaitGroup
		all.Go(func() { g.do(t.Context(), makingPod, func() error { <-done; return nil }) })
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		var came bool
		all.Go(func() {
			if err := g.do(ctx, startingContainer, func() error { came = true; return nil }); !errors.Is(err, context.Canceled) {
				t.Errorf("do() = %v, want %v", err, context.Canceled)
			}
		})
		all.Go(func() { g.do(t.Context(), makingPod, func() error { return nil }) })
		synctest.Wait()
		cancel()
		synctest.Wait()
		close(done)
		all.Wait()
		if came || g.free != 1 {
			t.Errorf("it got in: %t; %d places are free, want 1", came, g.free)
		}
	})
}

func TestTheGateUnderManyAtOnce(t *testing.T) {
	g := newGate(3)
	var mu sync.Mutex
	inside, most := 0, 0
	var all sync.WaitGroup
	for i := range 300 {
		all.Go(func() {
			ctx, cancel := context.WithCancel(t.Context())
			if i%5 == 0 {
				go cancel()
			}
			defer cancel()
			g.do(ctx, step(i)%steps, func() error {
				mu.Lock()
				inside++
				most = max(most, inside)
				mu.Unlock()
				mu.Lock()
				inside--
				mu.Unlock()
				return nil
			})
		})
	}
	all.Wait()
	if most > 3 || g.free != 3 {
		t.Errorf("%d were inside at once, %d places are free in the end; want at most 3, and 3", most, g.free)
	}
}
