package translate

import (
	"bufio"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/sampan-cloud/sampan/internal/platform/gateway/route"
)

// The annotations of an HTTPRoute or Ingress, all under prefix. They ask for
// what the API has no words for.
const (
	prefix = "gateway.sampan.dev/"

	annSticky    = prefix + "sticky"           // cookie, cookie:NAME, header:NAME or client
	annStickyAge = prefix + "sticky-max-age"   // of the cookie, such as 24h
	annRate      = prefix + "rate-limit"       // requests of one client: 10/s, 100/m
	annBurst     = prefix + "rate-limit-burst" // at once; by default what is allowed in a second
	annAuth      = prefix + "basic-auth"       // a Secret with htpasswd lines (bcrypt) under the key auth
	annRealm     = prefix + "basic-auth-realm"
	annBody      = prefix + "max-body-size" // such as 10Mi
	annCompress  = prefix + "compress"      // true
	annHTTPSOnly = prefix + "https-only"    // true: plain HTTP is sent to HTTPS
	annTimeout   = prefix + "timeout"       // of the whole exchange
	annRetries   = prefix + "retries"       // how often a bad answer is asked for again, 1 to 10
	annRetryOn   = prefix + "retry-on"      // which answers are bad: 502,503,504 by default

	annLogin   = prefix + "oidc"                // a Secret with issuer, client-id and client-secret, and ca.crt where the issuer needs it
	annEmails  = prefix + "oidc-allowed-emails" // a@example.com, *@example.org; with the next: one of both suffices
	annGroups  = prefix + "oidc-allowed-groups" // dev, ops
	annScopes  = prefix + "oidc-scopes"         // openid email profile groups, by default
	annSession = prefix + "oidc-session"        // how long a login lasts, such as 8h
)

// extras are what annotations ask for of every rule of a route.
type extras struct {
	sticky  *route.Sticky
	policy  *route.Policy
	timeout time.Duration
	retry   *route.Retry
}

func (e extras) apply(r *route.Rule) {
	if r.Sticky == nil {
		r.Sticky = e.sticky
	}
	if r.Timeout == 0 {
		r.Timeout = e.timeout
	}
	if r.Retry == nil {
		r.Retry = e.retry
	}
	r.Policy = e.policy
}

// annotations reads what a route's annotations ask for. What cannot be read
// refuses the route: a limit that is not there is worse than a route that is not.
func (t *translation) annotations(namespace string, a map[string]string, found *problems) extras {
	var e extras
	if len(a) == 0 {
		return e
	}
	var p route.Policy
	use := false
	for key, read := range map[string]func(string) error{
		annSticky:    func(v string) (err error) { e.sticky, err = sticky(v); return err },
		annRate:      func(v string) (err error) { p.Rate, err = rate(v); use = true; return err },
		annAuth:      func(v string) (err error) { p.Users, err = t.users(namespace, v); use = true; return err },
		annBody:      func(v string) (err error) { p.MaxBody, err = size(v); use = true; return err },
		annCompress:  func(v string) (err error) { p.Compress, err = strconv.ParseBool(v); use = true; return err },
		annHTTPSOnly: func(v string) (err error) { p.HTTPSOnly, err = strconv.ParseBool(v); use = true; return err },
		annLogin:     func(v string) (err error) { p.Login, err = t.login(namespace, v, a); use = true; return err },
		annTimeout:   func(v string) (err error) { e.timeout, err = time.ParseDuration(v); return err },
		annRetries:   func(v string) (err error) { e.retry, err = retries(v); return err },
	} {
		if v, ok := a[key]; ok {
			if err := read(v); err != nil {
				found.unsupported("annotation %s: %v", key, err)
			}
		}
	}
	if v, ok := a[annStickyAge]; ok && e.sticky != nil {
		age, err := time.ParseDuration(v)
		if err != nil {
			found.unsupported("annotation %s: %v", annStickyAge, err)
		}
		e.sticky.MaxAge = age
	}
	if v, ok := a[annBurst]; ok && p.Rate != nil {
		n, err := strconv.Atoi(v)
		if err != nil {
			found.unsupported("annotation %s: %v", annBurst, err)
		}
		p.Rate.Burst = n
	}
	if v, ok := a[annRetryOn]; ok {
		codes, err := statuses(v)
		switch {
		case a[annRetries] == "":
			found.unsupported("annotation %s: means nothing without %s", annRetryOn, annRetries)
		case err != nil:
			found.unsupported("annotation %s: %v", annRetryOn, err)
		case e.retry != nil:
			e.retry.Codes = codes
		}
	}
	for _, key := range []string{annEmails, annGroups, annScopes, annSession} {
		if _, ok := a[key]; ok && a[annLogin] == "" {
			found.unsupported("annotation %s: means nothing without %s", key, annLogin)
		}
	}
	if p.Realm = a[annRealm]; p.Realm == "" {
		p.Realm = namespace
	}
	if use {
		e.policy = &p
	}
	return e
}

func sticky(v string) (*route.Sticky, error) {
	by, name, _ := strings.Cut(v, ":")
	switch {
	case by == "cookie":
		return &route.Sticky{By: route.ByCookie, Name: name}, nil
	case by == "header" && name != "":
		return &route.Sticky{By: route.ByHeader, Name: http.CanonicalHeaderKey(name)}, nil
	case by == "client" && name == "":
		return &route.Sticky{By: route.ByClient}, nil
	}
	return nil, fmt.Errorf("%q: must be cookie, cookie:NAME, header:NAME or client", v)
}

func rate(v string) (*route.Rate, error) {
	count, per, _ := strings.Cut(v, "/")
	seconds, ok := map[string]float64{"": 1, "s": 1, "m": 60, "h": 3600}[per]
	n, err := strconv.ParseFloat(count, 64)
	if err != nil || !ok || n <= 0 {
		return nil, fmt.Errorf("%q: must be a number of requests per s, m or h, such as 10/s", v)
	}
	r := &route.Rate{PerSecond: n / seconds}
	r.Burst = int(max(r.PerSecond, 1))
	return r, nil
}

func size(v string) (int64, error) {
	q, err := resource.ParseQuantity(v)
	if err != nil || q.Value() <= 0 {
		return 0, fmt.Errorf("%q: not a size, such as 10Mi", v)
	}
	return q.Value(), nil
}

// users reads names and bcrypt hashes, as htpasswd -B writes them.
func (t *translation) users(namespace, name string) (map[string]string, error) {
	out := map[string]string{}
	secret := t.Secret(namespace, name)
	if secret == nil {
		return out, fmt.Errorf("there is no Secret %s/%s", namespace, name)
	}
	lines := bufio.NewScanner(strings.NewReader(string(secret.Data["auth"])))
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		user, hash, ok := strings.Cut(line, ":")
		if !ok || !strings.HasPrefix(hash, "$2") {
			return out, fmt.Errorf("Secret %s/%s, key auth, line %d: not NAME:BCRYPT-HASH", namespace, name, n)
		}
		out[user] = hash
	}
	return out, lines.Err()
}
