package catalog

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	api "github.com/sampan-cloud/sampan/api/catalog"
)

// prober asks instances how they are.
type prober struct {
	dial func(ctx context.Context, network, addr string) (net.Conn, error)
}

// probe runs a check once. An error says what an operator should read.
func (p prober) probe(ctx context.Context, c *api.Check, addr netip.Addr) error {
	limit := time.Duration(c.Timeout)
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	at := net.JoinHostPort(addr.String(), strconv.Itoa(c.Port))
	var err error
	if c.TCP {
		var conn net.Conn
		if conn, err = p.dial(ctx, "tcp", at); err == nil {
			conn.Close()
		}
	} else {
		err = p.get(ctx, c, at)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%s: no answer in %s", at, c.Timeout)
	}
	return err
}

// get is a check by HTTP, as the kubelet does it: 200 to 399 is well, a redirect
// is not followed, a certificate not checked.
func (p prober) get(ctx context.Context, c *api.Check, at string) error {
	scheme := "http"
	if c.HTTPS {
		scheme = "https"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+at+c.HTTP, nil)
	if err != nil {
		return err
	}
	req.Host = c.Host
	req.Header.Set("User-Agent", "sampan-catalog")
	transport := &http.Transport{
		DialContext: p.dial, DisableKeepAlives: true,
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true, ServerName: c.Host},
	}
	client := http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	_, _ = io.CopyN(io.Discard, res.Body, 4096) // its status has said it
	if res.StatusCode < 200 || res.StatusCode > 399 {
		return fmt.Errorf("GET %s://%s%s: %s", scheme, at, c.HTTP, res.Status)
	}
	return nil
}
