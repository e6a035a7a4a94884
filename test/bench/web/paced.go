package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"
)

// request is what is asked, and where.
type request struct{ addr, text string }

// Quantiles is what paced prints, in milliseconds.
type Quantiles struct {
	Requests int     `json:"requests"`
	P50      float64 `json:"p50"`
	P99      float64 `json:"p99"`
}

// paced asks at an even pace and prints how long answers took. Each is timed
// from when it was due and not from when it could be sent: a proxy that stands
// still for a moment delays all that should have been asked meanwhile.
func paced(ctx context.Context, r request, rate float64, connections int, length time.Duration) error {
	every := time.Duration(float64(connections) / rate * float64(time.Second))
	began := time.Now().Add(50 * time.Millisecond)
	took := make([][]time.Duration, connections)
	errs := make([]error, connections)
	var all sync.WaitGroup
	for i := range connections {
		all.Go(func() {
			first := began.Add(every * time.Duration(i) / time.Duration(connections))
			took[i], errs[i] = r.pace(ctx, first, every, began.Add(length))
		})
	}
	all.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	sorted := slices.Concat(took...)
	if len(sorted) == 0 {
		return fmt.Errorf("not one request in %s", length)
	}
	slices.Sort(sorted)
	at := func(q float64) float64 {
		return float64(sorted[int(q*float64(len(sorted)-1))]) / float64(time.Millisecond)
	}
	return json.NewEncoder(os.Stdout).Encode(Quantiles{Requests: len(sorted), P50: at(0.5), P99: at(0.99)})
}

// pace asks over one connection.
func (r request) pace(ctx context.Context, due time.Time, every time.Duration, end time.Time) ([]time.Duration, error) {
	c, err := net.Dial("tcp", r.addr)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	in := bufio.NewReader(c)
	if err := r.ask(c, in); err != nil { // which dials the backend, too
		return nil, err
	}
	var took []time.Duration
	for ; due.Before(end); due = due.Add(every) {
		time.Sleep(time.Until(due))
		if err := r.ask(c, in); err != nil {
			return nil, err
		}
		took = append(took, time.Since(due))
	}
	return took, nil
}

// ask sends a request and reads its answer.
func (r request) ask(c net.Conn, in *bufio.Reader) error {
	_, err := r.whom(c, in)
	return err
}

// whom is ask, and says who has answered.
func (r request) whom(c net.Conn, in *bufio.Reader) (string, error) {
	if _, err := io.WriteString(c, r.text); err != nil {
		return "", err
	}
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		return "", err
	}
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return "", err
	}
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("answered with %s", resp.Status)
	}
	return resp.Header.Get("Server"), nil
}
