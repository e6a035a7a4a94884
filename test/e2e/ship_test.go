package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sampan-cloud/sampan/api/client"
)

// A version is shipped, the daemon is killed in the middle of it, and another is
// shipped the other way: who asks notices nothing.
func TestShippingFailsNoRequest(t *testing.T) {
	h := up(t, "")
	h.must(t, "deploy", "web", "--image", image, "--port", "8080", "--min", "2", "--", "serve", "8080")
	stop := h.press(t, "web.default.sampan.local")

	ship := func(version, rollout string) {
		t.Helper()
		h.must(t, "kubectl", "patch", "app", "web", "--type=merge", "-p",
			fmt.Sprintf(`{"spec":{"env":[{"name":"VERSION","value":%q}],"rollout":%s}}`, version, rollout))
	}
	shipped := func(revision string) {
		t.Helper()
		eventually(t, revision+" is live and alone", func() bool {
			a := h.app(t, "web")
			return a.Status.Live == revision && len(a.Status.Revisions) == 1
		})
	}
	ship("2", `{"strategy":"canary","keep":"1s","steps":[{"weight":50,"pause":"3s"}]}`)
	eventually(t, "half of the requests go to the new version", func() bool {
		r := h.app(t, "web").Status.Rollout
		return r != nil && r.Weight == 50
	})
	h.kill9(t, "sampand")
	time.Sleep(time.Second) // requests go on without it
	h.must(t, "up")
	shipped("r2")
	ship("3", `{"strategy":"rolling","keep":"1s","steps":null}`)
	shipped("r3")
	if asked, failed := stop(); asked < 100 || failed != "" {
		t.Errorf("of %d requests failed: %s", asked, failed)
	}
}

// app reads an app.
func (h *host) app(t testing.TB, name string) (a client.App) {
	t.Helper()
	if err := json.Unmarshal([]byte(h.must(t, "app", "show", name, "-o", "json")), &a); err != nil {
		t.Fatal(err)
	}
	return a
}

// press asks the gateway for a name over a few kept connections, until stop is
// called, which says how many requests there were and what was wrong with some.
func (h *host) press(t testing.TB, name string) (stop func() (asked int64, failed string)) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	var n atomic.Int64
	var mu sync.Mutex
	var wrong []string
	for range 8 {
		c := &http.Client{Transport: &http.Transport{DialContext: h.dial}, Timeout: 20 * time.Second}
		all.Go(func() {
			defer c.CloseIdleConnections()
			for ctx.Err() == nil {
				err := askOnce(c, name)
				n.Add(1)
				if err != nil {
					mu.Lock()
					wrong = append(wrong, time.Now().Format("15:04:05.000 ")+err.Error())
					mu.Unlock()
				}
				time.Sleep(5 * time.Millisecond)
			}
		})
	}
	end := sync.OnceFunc(func() { cancel(); all.Wait() })
	t.Cleanup(end)
	return func() (int64, string) {
		end()
		return n.Load(), strings.Join(wrong, "\n")
	}
}

func askOnce(c *http.Client, name string) error {
	req, err := http.NewRequest(http.MethodGet, "http://127.0.0.1/", nil)
	if err != nil {
		return err
	}
	req.Host = name
	res, err := c.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("answered with %s", res.Status)
	}
	return nil
}

// askGateway asks the gateway for a name once.
func (h *host) askGateway(name string) error {
	c := &http.Client{Transport: &http.Transport{DialContext: h.dial, DisableKeepAlives: true}, Timeout: 5 * time.Second}
	return askOnce(c, name)
}
