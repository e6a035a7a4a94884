package translate

import (
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/sampan-cloud/sampan/internal/platform/gateway/oidc"
	"github.com/sampan-cloud/sampan/internal/platform/gateway/route"
)

// sessionLife is how long a login lasts when nobody says.
const sessionLife = 12 * time.Hour

// login reads who may come in by logging in elsewhere.
func (t *translation) login(namespace, name string, a map[string]string) (*route.Login, error) {
	secret := t.Secret(namespace, name)
	if secret == nil {
		return nil, fmt.Errorf("there is no Secret %s/%s of type %s", namespace, name, oidc.SecretType)
	}
	l := &route.Login{
		Issuer: string(secret.Data["issuer"]), ClientID: string(secret.Data["client-id"]), ClientSecret: string(secret.Data["client-secret"]),
		CA: secret.Data["ca.crt"], Scopes: []string{"openid", "email", "profile", "groups"}, Session: sessionLife,
		Emails: words(a[annEmails]), Groups: words(a[annGroups]),
	}
	for _, key := range []string{"issuer", "client-id", "client-secret"} {
		if len(secret.Data[key]) == 0 {
			return nil, fmt.Errorf("Secret %s/%s has no key %s", namespace, name, key)
		}
	}
	if u, err := url.Parse(l.Issuer); err != nil || u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("Secret %s/%s, key issuer: %q is not an https address", namespace, name, l.Issuer)
	}
	if v, ok := a[annScopes]; ok {
		if l.Scopes = words(v); !strings.Contains(" "+strings.Join(l.Scopes, " ")+" ", " openid ") {
			l.Scopes = append([]string{"openid"}, l.Scopes...)
		}
	}
	// A list that was meant to limit and says nothing must not let in everybody.
	for _, key := range []string{annEmails, annGroups} {
		if v, ok := a[key]; ok && len(words(v)) == 0 {
			return nil, fmt.Errorf("annotation %s: names nobody", key)
		}
	}
	if v, ok := a[annSession]; ok {
		d, err := time.ParseDuration(v)
		if err != nil || d < time.Minute || d > 31*24*time.Hour {
			return nil, fmt.Errorf("annotation %s: %q is not a duration between 1m and 744h", annSession, v)
		}
		l.Session = d
	}
	return l, nil
}

// words splits a list at commas and spaces.
func words(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' || r == '\n' })
}

// loginPaths add to a route where people come back to from the issuer, and where
// they log out. They are the login's own and go to no backend.
func (e extras) loginPaths(r *route.Route) {
	if e.policy == nil || e.policy.Login == nil {
		return
	}
	rule := &route.Rule{Policy: &route.Policy{Login: e.policy.Login}}
	for _, p := range []string{oidc.CallbackPath, oidc.LogoutPath} {
		path, err := route.NewPath(route.Exact, p)
		if err != nil {
			continue // it is none of a user's
		}
		rule.Matches = append(rule.Matches, route.Match{Path: path})
	}
	r.Rules = append(r.Rules, rule)
}

// sameLogin tells whether two routes that both want a login's paths of a host
// want the same.
func sameLogin(c route.Conflict) bool {
	of := func(r *route.Route) *route.Login {
		if last := len(r.Rules) - 1; last >= 0 && r.Rules[last].Policy != nil {
			return r.Rules[last].Policy.Login
		}
		return nil
	}
	a, b := of(c.Loser), of(c.Winner)
	return (c.Match == oidc.CallbackPath || c.Match == oidc.LogoutPath) && a != nil && b != nil &&
		a.Issuer == b.Issuer && a.ClientID == b.ClientID && a.ClientSecret == b.ClientSecret
}
