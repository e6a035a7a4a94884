package oidc

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"
)

// person is who has logged in.
type person struct {
	Subject string    `json:"s"`
	Name    string    `json:"n,omitempty"`
	Email   string    `json:"e,omitempty"`
	Groups  []string  `json:"g,omitempty"`
	Until   time.Time `json:"u"`
}

// name is how a message calls somebody.
func (p person) name() string {
	for _, n := range []string{p.Email, p.Name, p.Subject} {
		if n != "" {
			return n
		}
	}
	return "somebody"
}

// The headers by which an app learns who asks.
const (
	headerUser   = "X-Forwarded-User"
	headerEmail  = "X-Forwarded-Email"
	headerGroups = "X-Forwarded-Groups"
)

// tell writes into a request whom it is of.
func (p person) tell(r *http.Request) {
	user := p.Name
	if user == "" {
		user = p.Subject
	}
	for name, value := range map[string]string{headerUser: user, headerEmail: p.Email, headerGroups: strings.Join(p.Groups, ",")} {
		if value = clean(value); value != "" {
			r.Header[name] = []string{value}
		}
	}
}

// clean leaves out what cannot be in a header.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, s)
}

// disown takes out of a request what it says itself of who it is of. Some
// servers read _ as -, so that counts too.
func disown(r *http.Request) {
	for name := range r.Header {
		switch strings.ReplaceAll(strings.ToLower(name), "_", "-") {
		case "x-forwarded-user", "x-forwarded-email", "x-forwarded-groups", "x-forwarded-preferred-username":
			delete(r.Header, name)
		}
	}
}

// claims are what a token says of somebody.
type claims struct {
	Name     string   `json:"preferred_username"`
	Email    string   `json:"email"`
	Verified *boolish `json:"email_verified"`
	Groups   list     `json:"groups"`
}

// email is the address, unless the issuer says that it may be another's.
func (c claims) email() string {
	if c.Verified != nil && !bool(*c.Verified) {
		return ""
	}
	return c.Email
}

// boolish is a boolean that some issuers write as a string.
type boolish bool

// UnmarshalJSON reads either.
func (b *boolish) UnmarshalJSON(text []byte) error {
	*b = boolish(strings.Trim(string(text), `"`) == "true")
	return nil
}

// list is a list that some issuers write as one string.
type list []string

// UnmarshalJSON reads either.
func (l *list) UnmarshalJSON(text []byte) error {
	var one string
	if json.Unmarshal(text, &one) == nil {
		*l = list{one}
		return nil
	}
	return json.Unmarshal(text, (*[]string)(l))
}
