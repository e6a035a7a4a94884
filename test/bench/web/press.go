package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"time"
)

// Pressed is what press prints of a span of time.
type Pressed struct {
	Requests int      `json:"requests"`
	Failed   int      `json:"failed"`
	P50      float64  `json:"p50"` // milliseconds
	P99      float64  `json:"p99"`
	Max      float64  `json:"max"`
	Errors   []string `json:"errors,omitempty"` // a few of them
}

// pressed collects what happens until somebody takes it.
type pressed struct {
	mu     sync.Mutex
	took   []time.Duration
	failed int
	errors []string
}

// someErrors is how many errors are told in words.
const someErrors = 5

func (p *pressed) add(took time.Duration, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.took = append(p.took, took)
	if err == nil {
		return
	}
	p.failed++
	if len(p.errors) < someErrors {
		p.errors = append(p.errors, time.Now().Format("15:04:05.000 ")+err.Error())
	}
}

// take returns what has happened since it was called last.
func (p *pressed) take() Pressed {
	p.mu.Lock()
	took, out := p.took, Pressed{Requests: len(p.took), Failed: p.failed, Errors: p.errors}
	p.took, p.failed, p.errors = nil, 0, nil
	p.mu.Unlock()
	if len(took) == 0 {
		return out
	}
	slices.Sort(took)
	at := func(q float64) float64 {
		return float64(took[int(q*float64(len(took)-1))]) / float64(time.Millisecond)
	}
	out.P50, out.P99, out.Max = at(0.5), at(0.99), at(1)
	return out
}

// press asks at an even pace until its input ends. For each line of input it
// prints how the requests since the line before went. A request that fails is
// counted, and its connection made anew.
func press(ctx context.Context, r request, rate float64, connections int) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var p pressed
	every := time.Duration(float64(connections) / rate * float64(time.Second))
	began := time.Now()
	var all sync.WaitGroup
	for i := range connections {
		all.Go(func() { r.press(ctx, began.Add(every*time.Duration(i)/time.Duration(connections)), every, &p) })
	}
	in, out := bufio.NewScanner(os.Stdin), json.NewEncoder(os.Stdout)
	for in.Scan() {
		if err := out.Encode(p.take()); err != nil {
			return err
		}
	}
	stop()
	all.Wait()
	return in.Err()
}

// press asks over one connection at a time.
func (r request) press(ctx context.Context, due time.Time, every time.Duration, p *pressed) {
	var c net.Conn
	var in *bufio.Reader
	defer func() {
		if c != nil {
			c.Close()
		}
	}()
	for ; ; due = due.Add(every) {
		select {
		case <-time.After(time.Until(due)):
		case <-ctx.Done():
			return
		}
		var err error
		if c == nil {
			if c, err = (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "tcp", r.addr); err == nil {
				in = bufio.NewReader(c)
			}
		}
		if err == nil {
			err = c.SetDeadline(time.Now().Add(30 * time.Second))
		}
		if err == nil {
			err = r.ask(c, in)
		}
		if ctx.Err() != nil {
			return
		}
		p.add(time.Since(due), err)
		if err != nil && c != nil {
			c.Close()
			c = nil
		}
	}
}

// step asks over all connections at once and goes on until the given number of
// copies has answered. It prints how many seconds that took.
func step(ctx context.Context, r request, connections, copies int) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var mu sync.Mutex
	seen := map[string]time.Duration{}
	var failed error
	began := time.Now()
	var all sync.WaitGroup
	for range connections {
		all.Go(func() {
			err := r.repeat(ctx, func(who string) {
				mu.Lock()
				defer mu.Unlock()
				if _, known := seen[who]; !known {
					seen[who] = time.Since(began)
				}
				if len(seen) >= copies {
					stop()
				}
			})
			mu.Lock()
			defer mu.Unlock()
			if err != nil && ctx.Err() == nil {
				failed = err
				stop()
			}
		})
	}
	all.Wait()
	if failed != nil {
		return fmt.Errorf("%d of %d copies have answered: %w", len(seen), copies, failed)
	}
	if len(seen) < copies {
		return fmt.Errorf("%d of %d copies have answered", len(seen), copies)
	}
	var took []float64
	for _, d := range seen {
		took = append(took, d.Seconds())
	}
	slices.Sort(took)
	return json.NewEncoder(os.Stdout).Encode(took)
}

// repeat asks again and again, and tells who answers.
func (r request) repeat(ctx context.Context, tell func(who string)) error {
	c, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "tcp", r.addr)
	if err != nil {
		return err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	in := bufio.NewReader(c)
	for {
		who, err := r.whom(c, in)
		if err != nil {
			return err
		}
		tell(who)
	}
}
