// Package oidc lets people in who have logged in elsewhere, by OpenID Connect:
// the authorization code flow with PKCE.
//
// Who has logged in is kept in a cookie that only this cloud can read, so every
// gateway knows it, after a restart too, and nothing is kept here. Whoever is not
// known gets no further: when the issuer cannot be reached nobody new is let in.
package oidc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	goidc "github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/sampan-cloud/sampan/internal/platform/gateway/route"
)

// SecretType is the type of Secrets by which an app is known to an issuer.
const SecretType = "gateway.sampan.dev/oidc"

// Paths of every host that people log in for.
const (
	CallbackPath = "/.sampan/oidc/callback" // where the issuer sends them back to
	LogoutPath   = "/.sampan/oidc/logout"
)

const (
	issuerLimit = 10 * time.Second // for an answer of the issuer
	// remember is how long a failure to reach the issuer is told to others without
	// trying again: everybody who is not logged in asks.
	remember = 3 * time.Second
)

// Gate lets people in. It keeps nothing about them, only about issuers.
type Gate struct {
	log *slog.Logger
	now func() time.Time

	mu      sync.Mutex
	issuers map[string]*issuer
}

// New returns a Gate.
func New(log *slog.Logger) *Gate {
	return &Gate{log: log, now: time.Now, issuers: map[string]*issuer{}}
}

// Allow tells whether a request may go on. The request then says who it is of.
// One that may not has been answered: with the way to the issuer, or with what
// is wrong. secure is whether the client has come by TLS.
func (g *Gate) Allow(l *route.Login, w http.ResponseWriter, r *http.Request, secure bool) bool {
	disown(r)
	if !secure {
		// A cookie that everybody on the way can read would be worth nothing.
		http.Redirect(w, r, "https://"+r.Host+r.URL.RequestURI(), http.StatusPermanentRedirect)
		return false
	}
	switch r.URL.Path {
	case CallbackPath:
		g.callback(l, w, r)
		return false
	case LogoutPath:
		g.logout(l, w, r)
		return false
	}
	who, ok := g.session(l, r)
	if !ok {
		g.login(l, w, r)
		return false
	}
	if !allowed(l, who) {
		refuse(w, http.StatusForbidden, fmt.Sprintf("%s may not use this. To log in as somebody else: %s", who.name(), LogoutPath))
		return false
	}
	hideCookies(r)
	who.tell(r)
	return true
}

// login sends whoever asks to the issuer. What is no page cannot be sent there
// and is refused.
func (g *Gate) login(l *route.Login, w http.ResponseWriter, r *http.Request) {
	page := r.Method == http.MethodGet && r.Header.Get("Upgrade") == "" && strings.Contains(r.Header.Get("Accept"), "text/html")
	if mode := r.Header.Get("Sec-Fetch-Mode"); mode != "" && mode != "navigate" {
		page = false
	}
	if !page {
		refuse(w, http.StatusUnauthorized, "a login is needed: open the page in a browser")
		return
	}
	provider, err := g.provider(l)
	if err != nil {
		g.unreachable(l, w, err)
		return
	}
	t := ticket{
		State: oauth2.GenerateVerifier(), Nonce: oauth2.GenerateVerifier(), Verifier: oauth2.GenerateVerifier(),
		Return: r.URL.RequestURI(), Until: g.now().Add(ticketLife),
	}
	forgetTickets(w, r)
	if err := g.setTicket(l, w, r, t); err != nil {
		g.broken(w, err)
		return
	}
	to := conf(l, provider, r).AuthCodeURL(t.State, goidc.Nonce(t.Nonce), oauth2.S256ChallengeOption(t.Verifier))
	w.Header().Set("Cache-Control", "no-store")
	http.Redirect(w, r, to, http.StatusFound)
}

// callback takes back who has been at the issuer.
func (g *Gate) callback(l *route.Login, w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	t, ok := g.ticket(l, r, q.Get("state"))
	if !ok {
		refuse(w, http.StatusBadRequest, "this login was not begun here, or too long ago: open the page again")
		return
	}
	g.dropTicket(w, t)
	if e := q.Get("error"); e != "" {
		refuse(w, http.StatusForbidden, strings.TrimSpace("the issuer has refused the login: "+e+" "+q.Get("error_description")))
		return
	}
	provider, err := g.provider(l)
	if err != nil {
		g.unreachable(l, w, err)
		return
	}
	ctx, cancel := context.WithTimeout(provider.context(r.Context()), issuerLimit)
	defer cancel()
	token, err := conf(l, provider, r).Exchange(ctx, q.Get("code"), oauth2.VerifierOption(t.Verifier))
	if err != nil {
		if answered := new(oauth2.RetrieveError); errors.As(err, &answered) && answered.Response.StatusCode < 500 {
			g.log.Warn("login not taken by the issuer", "issuer", l.Issuer, "err", err)
			refuse(w, http.StatusForbidden, "the issuer does not know this login any more, or not this app: open the page again; if that does not help, the client's ID and secret are to be looked at")
			return
		}
		g.unreachable(l, w, err)
		return
	}
	who, err := provider.who(ctx, l, token, t.Nonce)
	if err != nil {
		g.log.Warn("login with a token that is no good", "issuer", l.Issuer, "err", err)
		refuse(w, http.StatusForbidden, "the issuer's answer is not one that can be trusted: open the page again")
		return
	}
	who.Until = g.now().Add(l.Session)
	if err := g.setSession(l, w, r, who); err != nil {
		g.broken(w, err)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	http.Redirect(w, r, local(t.Return), http.StatusFound)
}

// logout forgets who somebody is, here and at the issuer.
func (g *Gate) logout(l *route.Login, w http.ResponseWriter, r *http.Request) {
	g.dropSession(w, r)
	w.Header().Set("Cache-Control", "no-store")
	if provider, err := g.provider(l); err == nil && provider.end != "" {
		if u, err := url.Parse(provider.end); err == nil {
			q := u.Query()
			q.Set("client_id", l.ClientID)
			u.RawQuery = q.Encode()
			http.Redirect(w, r, u.String(), http.StatusFound)
			return
		}
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write([]byte("logged out\n"))
}

// local is an address of this host: a login must not lead elsewhere.
func local(to string) string {
	if !strings.HasPrefix(to, "/") || strings.HasPrefix(to, "//") || strings.HasPrefix(to, "/\\") {
		return "/"
	}
	return to
}

// unreachable answers when the issuer does not. What exactly is wrong is for the
// log: the issuer may be where only the gateway can look.
func (g *Gate) unreachable(l *route.Login, w http.ResponseWriter, err error) {
	g.log.Warn("issuer cannot be reached", "issuer", l.Issuer, "err", err)
	w.Header().Set("Retry-After", "5")
	refuse(w, http.StatusServiceUnavailable, "nobody can log in now: the issuer "+l.Issuer+" does not answer as it must. "+
		"Try again; if it stays so, whoever runs the app looks at the issuer's address, its certificate (ca.crt) and the gateway's log")
}

func (g *Gate) broken(w http.ResponseWriter, err error) {
	g.log.Error("login cannot be kept", "err", err)
	refuse(w, http.StatusInternalServerError, "the login cannot be kept: "+err.Error())
}

func refuse(w http.ResponseWriter, status int, why string) {
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, "%d %s: %s\n", status, http.StatusText(status), why)
}

// conf is the app as the issuer knows it.
func conf(l *route.Login, p *issuer, r *http.Request) *oauth2.Config {
	return &oauth2.Config{
		ClientID: l.ClientID, ClientSecret: l.ClientSecret, Endpoint: p.provider.Endpoint(),
		RedirectURL: "https://" + r.Host + CallbackPath, Scopes: l.Scopes,
	}
}

// allowed tells whether somebody is among those that a login is for. Without any
// named, everybody is whom the issuer knows.
func allowed(l *route.Login, p person) bool {
	if len(l.Emails)+len(l.Groups) == 0 {
		return true
	}
	email := strings.ToLower(p.Email)
	_, domain, _ := strings.Cut(email, "@")
	for _, e := range l.Emails {
		e = strings.ToLower(e)
		if email != "" && (e == email || strings.HasPrefix(e, "*@") && e[2:] == domain) {
			return true
		}
	}
	return slices.ContainsFunc(p.Groups, func(g string) bool { return slices.Contains(l.Groups, g) })
}
