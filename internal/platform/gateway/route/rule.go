package route

import (
	"net/http"
	"time"

	"github.com/sampan-cloud/sampan/internal/platform/gateway/upstream"
)

// A Rule says what becomes of the requests that one of its matches describes.
type Rule struct {
	Host     string // the one host of its route that it is for; empty is all
	Matches  []Match
	Filters  Filters
	Backends []Backend

	Timeout        time.Duration // of the whole exchange; zero is none
	BackendTimeout time.Duration // of one attempt; zero is none
	Retry          *Retry
	Sticky         *Sticky
	Policy         *Policy
}

// A Backend is one of the places that requests go to, as often as its weight
// says.
type Backend struct {
	Weight  int
	Port    *upstream.Port // nil when there is no such place
	Missing string         // why there is none, in words for the client
	Filters *Filters       // after the rule's own; nil for none
}

// Filters change a request, its answer, or answer it themselves.
type Filters struct {
	Request  HeaderEdit
	Response HeaderEdit
	Redirect *Redirect
	Rewrite  *Rewrite
	Mirrors  []Mirror
	CORS     *CORS
}

// A Header is one header line.
type Header struct{ Name, Value string }

// HeaderEdit changes headers. Names are in their canonical form.
type HeaderEdit struct {
	Set, Add []Header
	Remove   []string
}

// Apply edits h.
func (e *HeaderEdit) Apply(h http.Header) {
	for _, s := range e.Set {
		h[s.Name] = []string{s.Value}
	}
	for _, a := range e.Add {
		h[a.Name] = append(h[a.Name], a.Value)
	}
	for _, name := range e.Remove {
		delete(h, name)
	}
}

// Empty tells whether the edit changes nothing.
func (e *HeaderEdit) Empty() bool { return len(e.Set)+len(e.Add)+len(e.Remove) == 0 }

// A PathEdit replaces a whole path, or the prefix that matched.
type PathEdit struct {
	Prefix bool
	Value  string
}

// A Redirect answers with another address. What is empty stays as it is.
type Redirect struct {
	Scheme, Host string
	Path         *PathEdit
	Port         int
	Status       int
}

// A Rewrite changes the host and path that the backend sees.
type Rewrite struct {
	Host string
	Path *PathEdit
}

// A Mirror is sent a copy of Numerator in Denominator requests. Its answers are
// thrown away.
type Mirror struct {
	Port                   *upstream.Port
	Numerator, Denominator int
}

// CORS says which other origins' pages may call.
type CORS struct {
	Origins     []string // exact, *, or with a * in the host
	Credentials bool
	Methods     []string
	Headers     []string
	Expose      []string
	MaxAge      int
}

// Retry says which answers of a backend are asked for once more.
type Retry struct {
	Codes    []int
	Attempts int
	Backoff  time.Duration
}

// StickyBy says what a client is known by.
type StickyBy int

// A cookie is the gateway's own, given with the first answer.
const (
	ByCookie StickyBy = iota
	ByHeader
	ByClient // its address
)

// Sticky keeps a client with the backend that its first request went to, as
// long as the weights stay; when they shift, only the share that must moves.
type Sticky struct {
	By     StickyBy
	Name   string        // of the cookie or header
	MaxAge time.Duration // of the cookie; zero is the browser's session
}

// Policy is what annotations ask for on top of the API.
type Policy struct {
	HTTPSOnly bool              // answer plain HTTP with a redirect
	MaxBody   int64             // bytes; zero is no limit
	Rate      *Rate             // nil is no limit
	Users     map[string]string // bcrypt hashes by name; nil is no login
	Realm     string
	Login     *Login // by OpenID Connect; nil is none
	Compress  bool   // answers, for clients that want them so
}

// Login says who may come in by logging in elsewhere.
type Login struct {
	Issuer                 string // its address, by which it vouches
	ClientID, ClientSecret string // the app, as the issuer knows it
	CA                     []byte // PEM, to trust the issuer's address by; empty is the usual ones
	Scopes                 []string
	Emails, Groups         []string // who may; none of both is everybody. *@example.com is a whole domain
	Session                time.Duration
}

// Rate is how many requests one client may send.
type Rate struct {
	PerSecond float64
	Burst     int
}
