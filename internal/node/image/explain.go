package image

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// explain gives what went wrong with a registry its kind and says what to do.
// what is the thing asked for: "tag 3 of library/web".
func explain(ctx context.Context, e endpoint, what string, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var answer *transport.Error
	if errors.As(err, &answer) {
		return explainAnswer(e, what, answer, err)
	}
	var unknown x509.UnknownAuthorityError
	var wrongHost x509.HostnameError
	var badCert *tls.CertificateVerificationError
	var dns *net.DNSError
	var op *net.OpError
	switch {
	case fault.Of(err) != fault.Internal && fault.Of(err) != fault.Timeout:
		return fmt.Errorf("%s: %w", e.host, err)
	case errors.As(err, &unknown):
		return fmt.Errorf("%s: its certificate is signed by an authority that this machine does not trust, add the authority's file to caFiles of this registry: %w: %w", e.host, unknown, fault.Precondition)
	case errors.As(err, &wrongHost), errors.As(err, &badCert):
		return fmt.Errorf("%s: its certificate is not valid: %w: %w", e.host, cmp.Or[error](errors.Unwrap(badCert), err), fault.Precondition)
	case strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		return fmt.Errorf("%s speaks no HTTPS (set plainHTTP for this registry if that is meant): %w", e.host, fault.Precondition)
	case errors.As(err, &op) && op.Op == "proxyconnect":
		return fmt.Errorf("%s: the proxy through which it is asked (HTTPS_PROXY, HTTP_PROXY, or this registry's setting) does not answer: %w: %w", e.host, op.Err, fault.Unavailable)
	case errors.As(err, &dns) && dns.IsNotFound:
		return &finalError{fmt.Errorf("%s: no such host, check the image name and the machine's DNS: %w", e.host, fault.Unavailable)}
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("%s: connection refused: %w", e.host, fault.Unavailable)
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return fmt.Errorf("%s: the connection broke: %w", e.host, fault.Unavailable)
	}
	return fmt.Errorf("%s: %w: %w", e.host, err, fault.Unavailable)
}

func explainAnswer(e endpoint, what string, answer *transport.Error, err error) error {
	said := said(answer)
	switch code := answer.StatusCode; {
	case code == http.StatusUnauthorized:
		return fmt.Errorf("%s refuses access to %s (%s): it does not exist, or needs a login with the right user name and password: %w", e.host, e.repo.RepositoryStr(), said, fault.Unauthorized)
	case code == http.StatusForbidden:
		return fmt.Errorf("%s refuses access to %s (%s): this user may not: %w", e.host, e.repo.RepositoryStr(), said, fault.Forbidden)
	case code == http.StatusNotFound:
		return fmt.Errorf("%s has no %s (%s), check name and tag: %w", e.host, what, said, fault.NotFound)
	case code == http.StatusTooManyRequests:
		return &laterError{fmt.Errorf("%s: too many requests, a login may raise the limit: %w", e.host, fault.Unavailable), err}
	case code == http.StatusRequestTimeout, code >= 500:
		return &laterError{fmt.Errorf("%s: %s: %w", e.host, said, fault.Unavailable), err}
	}
	return fmt.Errorf("%s: %s: %s: %w", e.host, what, said, fault.Invalid)
}

// said is what the registry answered, on one line.
func said(answer *transport.Error) string {
	if len(answer.Errors) > 0 {
		d := answer.Errors[0]
		return strings.ToLower(strings.Join(strings.Fields(strings.ReplaceAll(cmp.Or(d.Message, string(d.Code)), "_", " ")), " "))
	}
	return fmt.Sprintf("%d %s", answer.StatusCode, strings.ToLower(http.StatusText(answer.StatusCode)))
}

// laterError keeps the answer behind an explained error, for its Retry-After.
type laterError struct {
	error
	answer error
}

func (e *laterError) Unwrap() []error { return []error{e.error, e.answer} }

// finalError is Unavailable, but asking again will not help.
type finalError struct{ error }

func (e *finalError) Unwrap() error { return e.error }

// transient tells whether asking again may help.
func transient(err error) bool {
	var final *finalError
	return fault.Of(err) == fault.Unavailable && !errors.As(err, &final)
}

// everywhere tries f on each remote in turn until one succeeds, and all of them
// again after a pause while one of them may yet. f reports progress made, which
// renews the patience.
func (s *Store) everywhere(ctx context.Context, remotes []*remote, f func(*remote) (progress bool, err error)) error {
	wait := s.cfg.RetryWait
	for attempt := 1; ; attempt++ {
		var failed []error
		again := false
		var pause time.Duration
		for _, r := range remotes {
			progress, err := f(r)
			if err == nil || ctx.Err() != nil {
				return err
			}
			if kind := fault.Of(err); kind == fault.Exhausted {
				return err // ours, not the registry's
			}
			failed = append(failed, err)
			again = again || transient(err)
			if progress {
				attempt, wait = 0, s.cfg.RetryWait
			}
			var busy *busyError
			if errors.As(err, &busy) {
				pause = max(pause, busy.after)
			}
		}
		if !again || attempt >= s.cfg.Attempts {
			return &allFailed{failed}
		}
		// Jitter keeps many nodes from asking again in step.
		pause = max(pause, wait/2+rand.N(wait))
		wait = min(2*wait, 20*time.Second)
		s.log.Debug("registry failed, trying again", "in", pause, "err", failed[0])
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(pause):
		}
	}
}

// allFailed is what each place answered, on one line. The most telling answer
// comes first and decides the kind: that a thing is unavailable says least.
type allFailed struct{ errs []error }

func (e *allFailed) Error() string {
	var all []string
	for _, err := range e.errs {
		all = append(all, err.Error())
	}
	return strings.Join(all, "; ")
}

func (e *allFailed) Unwrap() []error {
	var telling, rest []error
	for _, err := range e.errs {
		if fault.Of(err) == fault.Unavailable {
			rest = append(rest, err)
		} else {
			telling = append(telling, err)
		}
	}
	return append(telling, rest...)
}
