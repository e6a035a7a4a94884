package e2e

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// host is a machine for a cloud: a network namespace joined to the real machine
// by a veth pair, with a configuration file and wrappers that run commands there.
type host struct {
	name   string // of the namespace
	addr   string // its address
	dir    string // data, configuration and wrappers
	runDir string
}

// newHost makes machine number n (1 to 60) and takes it away when the test ends.
func newHost(t *testing.T, n int) *host {
	t.Helper()
	h := &host{
		name: fmt.Sprintf("smp-%d-%d", os.Getpid()%100000, n),
		addr: fmt.Sprintf("198.18.%d.2", n),
		dir:  t.TempDir(),
	}
	// A socket's path must be short, and a test's directory is not.
	run, err := os.MkdirTemp("/run", "smp")
	if err != nil {
		t.Fatal(err)
	}
	h.runDir = run
	t.Cleanup(func() { os.RemoveAll(run) })
	outer := fmt.Sprintf("smpt%d", n)
	ip := func(args ...string) {
		t.Helper()
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %v: %s", strings.Join(args, " "), err, out)
		}
	}
	exec.Command("ip", "link", "del", outer).Run() // of a run that was killed
	ip("netns", "add", h.name)
	t.Cleanup(func() { exec.Command("ip", "netns", "del", h.name).Run() })
	ip("link", "add", outer, "type", "veth", "peer", "name", "eth0", "netns", h.name)
	t.Cleanup(func() { exec.Command("ip", "link", "del", outer).Run() })
	ip("addr", "add", fmt.Sprintf("198.18.%d.1/24", n), "dev", outer)
	ip("link", "set", outer, "up")
	ip("-n", h.name, "link", "set", "lo", "up")
	ip("-n", h.name, "addr", "add", h.addr+"/24", "dev", "eth0")
	ip("-n", h.name, "link", "set", "eth0", "up")
	ip("-n", h.name, "route", "add", "default", "via", fmt.Sprintf("198.18.%d.1", n))
	config := fmt.Sprintf("dataDir: %s\nrunDir: %s\nnode: {name: %s}\n", filepath.Join(h.dir, "data"), run, h.name)
	h.write(t, "config.yaml", config, 0o600)
	sampan, err := filepath.Abs("../../bin/sampan")
	if err != nil {
		t.Fatal(err)
	}
	h.write(t, "bin/sampan", fmt.Sprintf("#!/bin/sh\nexec nsenter --net=/run/netns/%s %s \"$@\"\n", h.name, sampan), 0o755)
	t.Cleanup(func() {
		if out, err := h.sampan("down", "--purge"); err != nil {
			t.Errorf("down --purge: %v: %s", err, out)
		}
	})
	return h
}

func (h *host) write(t *testing.T, name, text string, mode os.FileMode) {
	t.Helper()
	path := filepath.Join(h.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

// env is what a user's shell there has set.
func (h *host) env() []string {
	return []string{
		"PATH=" + filepath.Join(h.dir, "bin") + ":" + os.Getenv("PATH"),
		"SAMPAN_CONFIG=" + filepath.Join(h.dir, "config.yaml"),
		"SAMPAN_LANG=en", "HOME=" + h.dir,
	}
}

// sampan runs the command line there and returns what it printed.
func (h *host) sampan(args ...string) (string, error) {
	cmd := exec.Command(filepath.Join(h.dir, "bin", "sampan"), args...)
	cmd.Env = append(os.Environ(), h.env()...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// must is sampan for what has to work.
func (h *host) must(t *testing.T, args ...string) string {
	t.Helper()
	out, err := h.sampan(args...)
	if err != nil {
		t.Fatalf("sampan %s: %v\n%s%s", strings.Join(args, " "), err, out, h.log())
	}
	return out
}

// log is the end of the daemon's log, for failures.
func (h *host) log() string {
	data, err := os.ReadFile(filepath.Join(h.dir, "data", "log", "sampand.log"))
	if err != nil {
		return ""
	}
	return "--- daemon's log, its end:\n" + string(data[max(0, len(data)-8000):])
}

// dial connects from inside the namespace: a socket belongs to the namespace of
// the thread that makes it.
func (h *host) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	type result struct {
		conn net.Conn
		err  error
	}
	done := make(chan result)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		ns, err := os.Open("/run/netns/" + h.name)
		if err == nil {
			err = unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET)
			ns.Close()
		}
		if err != nil {
			done <- result{nil, err}
			return
		}
		var d net.Dialer
		conn, err := d.DialContext(ctx, network, addr)
		done <- result{conn, err}
	}()
	r := <-done
	return r.conn, r.err
}

// get fetches a URL from inside the namespace, and tries again for a while: an
// address may be there a moment before what answers it.
func (h *host) get(url string, patience time.Duration) (string, error) {
	client := &http.Client{Transport: &http.Transport{DialContext: h.dial, DisableKeepAlives: true}, Timeout: 5 * time.Second}
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		res, err := client.Get(url)
		if err == nil {
			body := make([]byte, 1<<16)
			n, _ := res.Body.Read(body)
			res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return string(body[:n]), nil
			}
			err = fmt.Errorf("%s: %s", res.Status, body[:n])
		}
		if time.Now().After(deadline) {
			return "", err
		}
	}
}
