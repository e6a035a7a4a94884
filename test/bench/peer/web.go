package peer

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// Web is a room in which proxies are measured: all of them before one server,
// and asked over loopback. A proxy has the first half of the processors, and
// server and clients have the others, so that it is the proxy that is measured
// and not how the scheduler divides the machine.
type Web struct {
	room    *Room
	dir     string
	program string // both ends: test/bench/web
	backend string // address of the server
	port    int    // the next one that is free
	mine    []int  // processors of server and clients
	theirs  []int  // processors of proxies
	undo    closers
}

// NewWeb builds the programs and starts the server in room number n.
func NewWeb(ctx context.Context, source, dir string, n int) (_ *Web, err error) {
	w := &Web{port: 8000, backend: "127.0.0.1:7999", program: filepath.Join(dir, "web-ends")}
	defer func() {
		if err != nil {
			w.undo.close()
		}
	}()
	half := max(1, runtime.NumCPU()/2)
	for i := range runtime.NumCPU() {
		if i < half {
			w.theirs = append(w.theirs, i)
		}
		if i >= half || half == runtime.NumCPU() {
			w.mine = append(w.mine, i)
		}
	}
	for out, pkg := range map[string]string{"web-ends": "./test/bench/web", "gateway-alone": "./test/bench/gateway", "caddy": "./test/bench/caddy"} {
		if err := Build(ctx, source, filepath.Join(dir, out), pkg); err != nil {
			return nil, err
		}
	}
	if w.room, err = NewRoom(dir, "web", n); err != nil {
		return nil, err
	}
	w.dir = dir
	w.undo.add(w.room.Close)
	process, err := w.start(ctx, w.mine, func(ctx context.Context) error { return w.answers(ctx, w.backend) }, w.program, "backend", "-listen", w.backend)
	if err != nil {
		return nil, err
	}
	w.undo.add(func() error { process.stop(); return nil })
	return w, nil
}

// start runs a daemon on some processors.
func (w *Web) start(ctx context.Context, on []int, up func(context.Context) error, name string, args ...string) (*daemon, error) {
	if err := w.room.Pin(on); err != nil {
		return nil, err
	}
	return w.room.daemon(ctx, nil, up, name, args...)
}

// Backend is the server's address.
func (w *Web) Backend() string { return w.backend }

// client is for questions from inside of the room that are not measured.
func (w *Web) client() *http.Client {
	return &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			var c net.Conn
			var err error
			w.room.Do(func() { c, err = net.DialTimeout(network, addr, time.Second) })
			return c, err
		},
	}}
}

// Get asks for a host at an address and returns the answer's status.
func (w *Web) Get(ctx context.Context, c *http.Client, addr, host string) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/", nil)
	if err != nil {
		return 0, err
	}
	req.Host = host
	resp, err := c.Do(req)
	if err != nil {
		return 0, err
	}
	return resp.StatusCode, resp.Body.Close()
}

func (w *Web) answers(ctx context.Context, addr string) error {
	code, err := w.Get(ctx, w.client(), addr, "web.bench.test")
	if err == nil && code != http.StatusOK {
		err = fmt.Errorf("answers with %d", code)
	}
	return err
}

// Throughput asks for addr as fast as it answers, over the given number of
// connections, and returns the number of answers. wrk does it, which takes less
// of the machine than we could.
func (w *Web) Throughput(ctx context.Context, addr string, connections int, length time.Duration) (requests float64, took time.Duration, err error) {
	wrk, err := program("wrk")
	if err != nil {
		return 0, 0, err
	}
	if err := w.room.Pin(w.mine); err != nil {
		return 0, 0, err
	}
	script := filepath.Join(w.dir, "wrk.lua")
	if err := os.WriteFile(script, []byte(wrkSays), 0o644); err != nil {
		return 0, 0, err
	}
	out, err := w.room.Exec(ctx, nil, wrk, "-t", strconv.Itoa(len(w.mine)), "-c", strconv.Itoa(connections), "-d", length.String(),
		"-H", "Host: web.bench.test", "-s", script, "http://"+addr+"/")
	if err != nil {
		return 0, 0, err
	}
	var said struct{ Requests, Micros, Errors float64 }
	if err := json.Unmarshal([]byte(out[strings.LastIndexByte(out, '{'):]), &said); err != nil {
		return 0, 0, fmt.Errorf("wrk: %w: %s", err, tail(out))
	}
	if said.Errors > 0 {
		return 0, 0, fmt.Errorf("%.0f of %.0f requests failed", said.Errors, said.Requests)
	}
	return said.Requests, time.Duration(said.Micros) * time.Microsecond, nil
}

// wrkSays makes wrk print what a program can read.
const wrkSays = `
done = function(s, latency, requests)
  local e = s.errors
  io.write(string.format('\n{"Requests":%d,"Micros":%d,"Errors":%d}\n',
    s.requests, s.duration, e.connect + e.read + e.write + e.status + e.timeout))
end
`

// Quantiles are of the time between when a request was due and its answer.
type Quantiles struct{ Requests, P50, P99 float64 }

// Paced asks for addr at an even pace.
func (w *Web) Paced(ctx context.Context, addr string, rate, connections int, length time.Duration) (q Quantiles, err error) {
	if err := w.room.Pin(w.mine); err != nil {
		return q, err
	}
	out, err := w.room.Exec(ctx, nil, w.program, "paced", "-addr", addr, "-rate", strconv.Itoa(rate),
		"-connections", strconv.Itoa(connections), "-for", length.String())
	if err == nil {
		err = json.Unmarshal([]byte(out), &q)
	}
	return q, err
}

// Hold opens connections to addr that have been used once and are idle, until
// release is called, which fails when one of them does not work any more.
// number tells one group of connections from another.
func (w *Web) Hold(ctx context.Context, addr string, connections, number int) (release func() error, err error) {
	if err := w.room.Pin(w.mine); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, w.program, "idle", "-addr", addr, "-connections", strconv.Itoa(connections), "-local", strconv.Itoa(number))
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	var said strings.Builder
	cmd.Stderr = &said
	if err := w.room.Start(cmd); err != nil {
		return nil, err
	}
	end := func() error {
		stdin.Close()
		if err := cmd.Wait(); err != nil {
			return fmt.Errorf("hold %d connections: %w: %s", connections, err, tail(said.String()))
		}
		return nil
	}
	var holding string
	if _, err := fmt.Fscan(stdout, &holding); err != nil {
		return nil, cmp.Or(end(), err) // it says why it has ended
	}
	return end, nil
}

// Close ends the server and takes the room away. The proxies have been closed.
func (w *Web) Close() error {
	if err := w.undo.close(); err != nil {
		return fmt.Errorf("web: %w", err)
	}
	return nil
}
