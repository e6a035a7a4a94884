package e2e

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

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
		body, err := getOnce(client, url)
		if err == nil || time.Now().After(deadline) {
			return body, err
		}
	}
}

func getOnce(client *http.Client, url string) (string, error) {
	res, err := client.Get(url)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", res.Status, body)
	}
	return string(body), err
}

// lookup asks a name server from inside the namespace for a name, and tries again
// for a while.
func (h *host) lookup(server, name string, patience time.Duration) error {
	r := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return h.dial(ctx, network, net.JoinHostPort(server, "53"))
	}}
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		_, err := r.LookupHost(ctx, name+".")
		cancel()
		if err == nil || time.Now().After(deadline) {
			return err
		}
	}
}
