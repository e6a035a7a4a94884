package proxy

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"syscall"
	"time"

	"github.com/sampan-cloud/sampan/internal/platform/gateway/upstream"
)

// attempts is how many endpoints are tried when one after the other cannot be
// reached.
const attempts = 5

// RoundTrip sends a request to endpoints until one answers. It is called by the
// reverse proxy.
func (p *Proxy) RoundTrip(req *http.Request) (*http.Response, error) {
	x := exchangeOf(req.Context())
	body := req.Body
	if body == http.NoBody {
		body, req.Body = nil, nil
	}
	if body != nil {
		req.Body = keptOpen{body}
	}
	var failed, answered []*upstream.Endpoint
	var last error
	for retried := 0; ; {
		e := x.backend.Port.Pick(rand.IntN, slices.Concat(failed, answered))
		if e == nil && len(answered) > 0 {
			// All others have been asked: those that answered badly may do better now.
			answered = nil
			continue
		}
		if e == nil {
			if last == nil || x.backend.Port.Service.App() != "" && unreachable(last) && len(x.backend.Port.Endpoints()) == 0 {
				if err := p.wait(req.Context(), x); err != nil {
					return nil, err
				}
				failed = nil
				continue
			}
			return nil, last
		}
		resp, err := p.attempt(x, e, req)
		if err == nil {
			if retried < x.retries(req, body) && slices.Contains(x.Retry.Codes, resp.StatusCode) {
				retried++
				answered = append(answered, e)
				_ = resp.Body.Close()
				if err := sleep(req.Context(), x.Retry.Backoff); err != nil {
					return nil, err
				}
				continue
			}
			return resp, nil
		}
		last = err
		if req.Context().Err() != nil || !again(req, body, err) || len(failed) >= attempts {
			return nil, err
		}
		e.Failed()
		failed = append(failed, e)
	}
}

// wait holds a request until there is an endpoint. It is held then and not in
// flight, and what it waited is not what the app took to answer.
func (p *Proxy) wait(ctx context.Context, x *exchange) error {
	stats := &x.backend.Port.Service.Stats
	stats.InFlight.Add(-1)
	defer stats.InFlight.Add(1)
	if err := p.hold.Wait(ctx, x.backend.Port); err != nil {
		return err
	}
	x.began = time.Now()
	return nil
}

// attempt sends a request to one endpoint. The endpoint counts as busy until
// the body of the answer is closed.
func (p *Proxy) attempt(x *exchange, e *upstream.Endpoint, req *http.Request) (*http.Response, error) {
	transport := e.Begin()
	cancel := context.CancelFunc(func() {})
	if x.BackendTimeout > 0 {
		var ctx context.Context
		ctx, cancel = context.WithTimeoutCause(req.Context(), x.BackendTimeout, errTimeout)
		req = req.WithContext(ctx)
	}
	u := *req.URL
	u.Host = e.Addr
	if x.backend.Port.Protocol == upstream.HTTPS {
		u.Scheme = "https"
	}
	sent := *req
	sent.URL = &u
	resp, err := transport.RoundTrip(&sent)
	if err != nil {
		e.Done()
		cancel()
		if cause := context.Cause(req.Context()); errors.Is(cause, errTimeout) {
			err = cause
		}
		return nil, err
	}
	resp.Body = whenClosed(resp.Body, func() { e.Done(); cancel() })
	return resp, nil
}

// maxRetries bounds what a rule may ask for: each is work for a backend that may
// have too much of it already.
const maxRetries = 10

// retries is how often the rule lets a bad answer be asked for again. What was
// sent with the request is gone, so one with a body is not; nor is one whose
// method says that twice is more than once.
func (x *exchange) retries(req *http.Request, body io.ReadCloser) int {
	if x.Retry == nil || body != nil || req.Header.Get("Upgrade") != "" {
		return 0
	}
	switch req.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodPut, http.MethodDelete:
		return min(max(x.Retry.Attempts, 1), maxRetries)
	}
	return 0
}

// again tells whether a request may be sent to another endpoint: nothing of it
// has been sent, or it has no body and may by its method be repeated.
func again(req *http.Request, body io.ReadCloser, err error) bool {
	if unreachable(err) {
		return true
	}
	switch req.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return body == nil && req.Header.Get("Upgrade") == ""
	}
	return false
}

// unreachable tells whether no connection came about.
func unreachable(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial" || errors.Is(err, syscall.ECONNREFUSED)
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// errTimeout is the cause of a context that a rule's limit has ended.
var errTimeout error = timeoutError{}

type timeoutError struct{}

func (timeoutError) Error() string   { return "no answer in time" }
func (timeoutError) Timeout() bool   { return true }
func (timeoutError) Temporary() bool { return true }
