package peer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/sampan-cloud/sampan/test/bench/measure"
)

// Proxy is one that stands before the server of a Web.
type Proxy struct {
	Addr    string
	Program string
	web     *Web
	process *daemon
	up      func(context.Context) error
	control string // of our own: where routes are made
}

// Sampan starts our gateway, without Kubernetes, with so many routes.
func (w *Web) Sampan(ctx context.Context, routes int) (*Proxy, error) {
	p := w.proxy(2) // HTTP and HTTPS
	return p, p.gateway(ctx, routes)
}

func (p *Proxy) gateway(ctx context.Context, routes int) error {
	w := p.web
	p.control = w.proxy(1).Addr
	p.up = func(ctx context.Context) error {
		// It answers about itself once it is ready for requests.
		return errors.Join(w.answers(ctx, p.control), w.answers(ctx, p.Addr))
	}
	_, port, err := net.SplitHostPort(p.Addr)
	if err != nil {
		return err
	}
	return p.start(ctx, filepath.Join(w.dir, "gateway-alone"), "-http", port, "-backend", w.backend, "-routes", strconv.Itoa(routes),
		"-control", p.control, "-admin", w.proxy(1).Addr, "-data", filepath.Join(w.room.Dir, "gateway"))
}

// Replace starts another gateway of ours in the place of this one, which ends.
func (p *Proxy) Replace(ctx context.Context) (*Proxy, error) {
	next := &Proxy{web: p.web, Addr: p.Addr}
	if err := next.gateway(ctx, 1); err != nil {
		return nil, err
	}
	p.Close()
	return next, nil
}

// Caddy starts stock Caddy.
func (w *Web) Caddy(ctx context.Context) (*Proxy, error) {
	p := w.proxy(1)
	config := filepath.Join(w.room.Dir, "caddy.json")
	if err := os.WriteFile(config, fmt.Appendf(nil, caddyConfig, p.Addr, w.backend), 0o644); err != nil {
		return nil, err
	}
	return p, p.start(ctx, filepath.Join(w.dir, "caddy"), "run", "--config", config)
}

// No access log, as with the others; the rest is as it comes.
const caddyConfig = `{
  "admin": {"disabled": true, "config": {"persist": false}},
  "logging": {"logs": {"default": {"level": "ERROR"}}},
  "apps": {"http": {"servers": {"web": {
    "listen": [%q], "automatic_https": {"disable": true}, "idle_timeout": "1h",
    "routes": [{"handle": [{"handler": "reverse_proxy", "upstreams": [{"dial": %q}]}]}]
  }}}}
}`

// Nginx starts Debian's nginx.
func (w *Web) Nginx(ctx context.Context) (*Proxy, error) {
	p := w.proxy(1)
	path, err := program("nginx")
	if err != nil {
		return nil, err
	}
	config := filepath.Join(w.room.Dir, "nginx.conf")
	if err := os.WriteFile(config, fmt.Appendf(nil, nginxConfig, len(w.theirs), w.room.Dir, w.backend, p.Addr), 0o644); err != nil {
		return nil, err
	}
	return p, p.start(ctx, path, "-c", config, "-p", w.room.Dir, "-e", filepath.Join(w.room.Dir, "nginx-errors.log"))
}

// What the backend is told is what our gateway tells it. Connections to it are
// kept, which is not the default.
const nginxConfig = `
daemon off;
user root;
worker_processes %d;
worker_rlimit_nofile 20000;
pid %s/nginx.pid;
error_log stderr crit;
events { worker_connections 19000; }
http {
  access_log off;
  upstream web { server %s; keepalive 512; keepalive_requests 1000000000; }
  server {
    listen %s backlog=4096;
    keepalive_timeout 1h;
    keepalive_requests 1000000000;
    location / {
      proxy_pass http://web;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $host;
      proxy_set_header X-Real-IP $remote_addr;
      proxy_set_header X-Forwarded-For $remote_addr;
      proxy_set_header X-Forwarded-Host $host;
      proxy_set_header X-Forwarded-Proto $scheme;
      proxy_set_header X-Forwarded-Port $server_port;
    }
  }
}
`

// HAProxy starts Debian's haproxy.
func (w *Web) HAProxy(ctx context.Context) (*Proxy, error) {
	p := w.proxy(1)
	path, err := program("haproxy")
	if err != nil {
		return nil, err
	}
	config := filepath.Join(w.room.Dir, "haproxy.cfg")
	if err := os.WriteFile(config, fmt.Appendf(nil, haproxyConfig, len(w.theirs), p.Addr, w.backend), 0o644); err != nil {
		return nil, err
	}
	return p, p.start(ctx, path, "-db", "-f", config)
}

const haproxyConfig = `
global
  nbthread %d
  maxconn 9000
defaults
  mode http
  timeout connect 3s
  timeout client 1h
  timeout server 1h
  timeout http-keep-alive 1h
frontend web
  bind %s
  option forwardfor
  http-request set-header X-Real-IP %%[src]
  http-request set-header X-Forwarded-Proto http
  http-request set-header X-Forwarded-Host %%[req.hdr(host)]
  http-request set-header X-Forwarded-Port %%[dst_port]
  default_backend web
backend web
  http-reuse always
  server web %s
`

// proxy takes so many ports for a proxy, the first of which it listens on.
func (w *Web) proxy(ports int) *Proxy {
	p := &Proxy{web: w, Addr: "127.0.0.1:" + strconv.Itoa(w.port)}
	p.up = func(ctx context.Context) error { return w.answers(ctx, p.Addr) }
	w.port += ports
	return p
}

func (p *Proxy) start(ctx context.Context, program string, args ...string) (err error) {
	p.Program = program
	p.process, err = p.web.start(ctx, p.web.theirs, p.up, program, args...)
	return err
}

// processes are the program's own and its children, which are workers.
func (p *Proxy) processes() ([]int, error) {
	pid := p.process.cmd.Process.Pid
	out, err := exec.Command("ps", "-o", "pid=", "--ppid", strconv.Itoa(pid)).Output()
	if err != nil && len(out) > 0 {
		return nil, fmt.Errorf("ps: %w", err) // no children is an error to ps
	}
	pids := []int{pid}
	for _, word := range strings.Fields(string(out)) {
		child, err := strconv.Atoi(word)
		if err != nil {
			return nil, err
		}
		pids = append(pids, child)
	}
	return pids, nil
}

// ProcessorTime is how long it has run on processors.
func (p *Proxy) ProcessorTime() (time.Duration, error) {
	pids, err := p.processes()
	if err != nil {
		return 0, err
	}
	var sum time.Duration
	for _, pid := range pids {
		t, err := measure.ProcessorTime(pid)
		if err != nil {
			return 0, err
		}
		sum += t
	}
	return sum, nil
}

// Memory is what it holds. Workers share pages, so it is PSS that adds up.
func (p *Proxy) Memory() (measure.Memory, error) {
	pids, err := p.processes()
	if err != nil {
		return measure.Memory{}, err
	}
	return memoryOf(pids)
}

// AddRoute makes a route for NAME.bench.test and returns how long it took until
// it was in force, from when the API had it.
func (p *Proxy) AddRoute(ctx context.Context, name string) (time.Duration, error) {
	client := p.web.client()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+p.control+"/"+name, nil)
	if err != nil {
		return 0, err
	}
	began := time.Now()
	resp, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("make route %s: %s", name, resp.Status)
	}
	for ctx.Err() == nil {
		code, err := p.web.Get(ctx, client, p.Addr, name+".bench.test")
		if err != nil {
			return 0, err
		}
		if code == http.StatusOK {
			return time.Since(began), nil
		}
		time.Sleep(time.Millisecond)
	}
	return 0, ctx.Err()
}

// Close ends it.
func (p *Proxy) Close() { p.process.stop() }
