package oidc

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/sampan-cloud/sampan/internal/platform/gateway/route"
)

// Browsers take cookies of these names only from this host and over TLS, so that
// no other host can plant one.
const (
	sessionCookie = "__Host-sampan-session"
	ticketPrefix  = "__Host-sampan-login-" // and what tells one login from another
)

// ticketLife is how long somebody may be at the issuer.
const ticketLife = 10 * time.Minute

// maxCookie is what browsers keep for sure.
const maxCookie = 3800

// ticket is a login that has begun.
type ticket struct {
	State    string    `json:"s"`
	Nonce    string    `json:"n"`
	Verifier string    `json:"v"`
	Return   string    `json:"r"`
	Until    time.Time `json:"u"`
}

// name is that of its cookie: several pages may wait for a login at once.
func (t ticket) name() string {
	sum := sha256.Sum256([]byte(t.State))
	return ticketPrefix + hex.EncodeToString(sum[:4])
}

func (g *Gate) setTicket(l *route.Login, w http.ResponseWriter, r *http.Request, t ticket) error {
	if len(t.Return) > 2000 {
		t.Return = "/"
	}
	v, err := seal(l, r, "login", t)
	if err != nil {
		return err
	}
	set(w, t.name(), v, ticketLife)
	return nil
}

// ticket finds the login that the issuer has answered.
func (g *Gate) ticket(l *route.Login, r *http.Request, state string) (ticket, bool) {
	t := ticket{State: state}
	c, err := r.Cookie(t.name())
	if state == "" || err != nil || open(l, r, "login", c.Value, &t) != nil {
		return t, false
	}
	return t, t.State == state && g.now().Before(t.Until)
}

// maxTickets is how many logins somebody can have begun on one host. Each is a
// cookie that comes with every request.
const maxTickets = 8

// forgetTickets ends logins that were begun and left when there are too many.
func forgetTickets(w http.ResponseWriter, r *http.Request) {
	var begun []string
	for _, c := range r.Cookies() {
		if strings.HasPrefix(c.Name, ticketPrefix) {
			begun = append(begun, c.Name)
		}
	}
	if len(begun) < maxTickets {
		return
	}
	for _, name := range begun {
		set(w, name, "", -time.Second)
	}
}

func (g *Gate) dropTicket(w http.ResponseWriter, t ticket) { set(w, t.name(), "", -time.Second) }

func (g *Gate) setSession(l *route.Login, w http.ResponseWriter, r *http.Request, p person) error {
	v, err := seal(l, r, "session", p)
	if err == nil && len(v) > maxCookie {
		// Whether somebody is let in must not change with it.
		p.Groups = among(l, p.Groups)
		v, err = seal(l, r, "session", p)
	}
	if err == nil && len(v) > maxCookie {
		err = errors.New("too much is known of who has logged in: fewer groups in the token, or groups named that are allowed")
	}
	if err != nil {
		return err
	}
	set(w, sessionCookie, v, l.Session)
	return nil
}

// among are the groups that matter to whether somebody is let in.
func among(l *route.Login, groups []string) []string {
	var out []string
	for _, g := range groups {
		for _, a := range l.Groups {
			if a == g {
				out = append(out, g)
			}
		}
	}
	return out
}

// session reads who has logged in.
func (g *Gate) session(l *route.Login, r *http.Request) (person, bool) {
	var p person
	c, err := r.Cookie(sessionCookie)
	if err != nil || open(l, r, "session", c.Value, &p) != nil {
		return p, false
	}
	return p, g.now().Before(p.Until)
}

func (g *Gate) dropSession(w http.ResponseWriter, _ *http.Request) {
	set(w, sessionCookie, "", -time.Second)
}

// hideCookies keeps ours from the app, which has no use for them that its users
// would want.
func hideCookies(r *http.Request) {
	lines := r.Header["Cookie"]
	if len(lines) == 0 {
		return
	}
	var keep []string
	for _, line := range lines {
		for _, part := range strings.Split(line, ";") {
			part = strings.TrimSpace(part)
			if part != "" && !strings.HasPrefix(part, sessionCookie+"=") && !strings.HasPrefix(part, ticketPrefix) {
				keep = append(keep, part)
			}
		}
	}
	if len(keep) == 0 {
		delete(r.Header, "Cookie")
		return
	}
	r.Header["Cookie"] = []string{strings.Join(keep, "; ")}
}

func set(w http.ResponseWriter, name, value string, life time.Duration) {
	http.SetCookie(w, &http.Cookie{
		Name: name, Value: value, Path: "/", MaxAge: int(life.Seconds()),
		Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
}

// seal makes of a value a text that only this cloud can read and nobody can make
// or move: not to another host, another login or another use.
func seal(l *route.Login, r *http.Request, use string, v any) (string, error) {
	aead, err := key(l)
	if err != nil {
		return "", err
	}
	plain, err := json.Marshal(v)
	if err != nil {
		return "", err
	}
	nonce := make([]byte, aead.NonceSize())
	_, _ = rand.Read(nonce) // never fails
	return base64.RawURLEncoding.EncodeToString(aead.Seal(nonce, nonce, plain, bound(r, use))), nil
}

func open(l *route.Login, r *http.Request, use, text string, v any) error {
	aead, err := key(l)
	if err != nil {
		return err
	}
	sealed, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(sealed) < aead.NonceSize() {
		return errors.New("not sealed by us")
	}
	plain, err := aead.Open(nil, sealed[:aead.NonceSize()], sealed[aead.NonceSize():], bound(r, use))
	if err != nil {
		return err
	}
	return json.Unmarshal(plain, v)
}

// bound is what a sealed text is good for.
func bound(r *http.Request, use string) []byte {
	return []byte(use + "\x00" + route.Host(r.Host))
}

// key is made of what only the issuer and we know, so that all gateways have the
// same, and another client secret ends all sessions.
func key(l *route.Login) (cipher.AEAD, error) {
	if l.ClientSecret == "" {
		return nil, errors.New("there is no client secret")
	}
	k, err := hkdf.Key(sha256.New, []byte(l.ClientSecret), []byte(l.Issuer+"\x00"+l.ClientID), "sampan login", 32)
	if err != nil {
		return nil, fmt.Errorf("key of sessions: %w", err)
	}
	block, err := aes.NewCipher(k)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}
