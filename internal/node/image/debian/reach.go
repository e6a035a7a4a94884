package debian

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"os"
	"regexp"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// reachLimit is how long a mirror may take to accept a connection. Apt's own
// patience, for each file and each address anew, adds up to minutes.
const reachLimit = 8 * time.Second

// proxied is a setting by which apt asks a proxy, which may reach what we do not.
var proxied = regexp.MustCompile(`(?m)^Acquire::(?:https?::)?(?:Proxy|ProxyAutoDetect|Proxy-Auto-Detect)[^ ]* "[^"]`)

// reach fails when a mirror that apt would ask cannot be reached at all, and says
// which.
func (a *apt) reach(ctx context.Context) error {
	mirrors, err := a.mirrors(ctx)
	if err != nil || len(mirrors) == 0 {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, a.reachLimit)
	defer cancel()
	var group errgroup.Group
	for _, m := range mirrors {
		a.progress(Progress{Step: "connect", Package: m.Host})
		group.Go(func() error {
			conn, err := a.dial(limited, "tcp", m.Host)
			switch {
			case err == nil:
				return conn.Close()
			case ctx.Err() != nil:
				return ctx.Err()
			case limited.Err() != nil:
				err = fmt.Errorf("no connection within %s", a.reachLimit)
			}
			return &unreachable{m.String(), reason(err)}
		})
	}
	return group.Wait()
}

// unreachable is a mirror that fresh package lists would not bring nearer.
type unreachable struct {
	mirror string
	why    error
}

func (e *unreachable) Error() string {
	return fmt.Sprintf("the package mirror %s cannot be reached, check the network or name another mirror in apt's sources: %v: %v", e.mirror, e.why, fault.Unavailable)
}

func (e *unreachable) Unwrap() error { return fault.Unavailable }

// reason leaves out of a failed dial what its reader has just been told.
func reason(err error) error {
	var op *net.OpError
	if errors.As(err, &op) && op.Err != nil {
		return op.Err
	}
	return err
}

// mirrors are the places that apt's sources name, each once, with a port. There
// are none to be reached when a proxy stands between.
func (a *apt) mirrors(ctx context.Context) ([]url.URL, error) {
	for _, key := range []string{"http_proxy", "https_proxy", "all_proxy"} {
		if os.Getenv(key) != "" {
			return nil, nil
		}
	}
	out, err := a.run(ctx, "--print-uris", "update")
	if err != nil {
		return nil, err
	}
	var found []url.URL
	for _, uri := range slices.Sorted(maps.Values(listed(out))) {
		u, err := url.Parse(uri)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" {
			continue // a directory, or a method whose way we do not know
		}
		if u.Port() == "" {
			u.Host = net.JoinHostPort(u.Hostname(), map[string]string{"http": "80", "https": "443"}[u.Scheme])
		}
		m := url.URL{Scheme: u.Scheme, Host: u.Host}
		if !slices.Contains(found, m) {
			found = append(found, m)
		}
	}
	if len(found) == 0 {
		return nil, nil
	}
	settings, err := a.config(ctx)
	if err != nil || proxied.Match(settings) {
		return nil, err
	}
	return found, nil
}
