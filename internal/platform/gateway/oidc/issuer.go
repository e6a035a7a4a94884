package oidc

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"strings"
	"time"

	goidc "github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/sampan-cloud/sampan/internal/platform/gateway/route"
)

// issuer is an issuer as it describes itself.
type issuer struct {
	provider *goidc.Provider
	client   *http.Client
	end      string // where one logs out

	once   chan struct{} // closed when it is known, or cannot be
	err    error
	failed time.Time
}

// context makes ctx one by which the issuer is asked.
func (p *issuer) context(ctx context.Context) context.Context {
	return goidc.ClientContext(ctx, p.client)
}

// provider returns the issuer of a login, which is asked once for all who come
// at the same time.
func (g *Gate) provider(l *route.Login) (*issuer, error) {
	key := l.Issuer + "\x00" + string(l.CA)
	g.mu.Lock()
	p := g.issuers[key]
	if p != nil {
		select {
		case <-p.once:
			if p.err != nil && g.now().Sub(p.failed) > remember {
				p = nil
			}
		default:
		}
	}
	if p == nil {
		p = &issuer{once: make(chan struct{})}
		g.issuers[key] = p
		go func() {
			defer close(p.once)
			p.err = p.discover(l)
			p.failed = g.now()
		}()
	}
	g.mu.Unlock()
	<-p.once
	return p, p.err
}

// discover asks the issuer to describe itself. It takes at most issuerLimit.
func (p *issuer) discover(l *route.Login) error {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if len(l.CA) > 0 {
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(l.CA) {
			return errors.New("ca.crt has no certificate")
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: roots}
	}
	p.client = &http.Client{Transport: transport, Timeout: issuerLimit}
	// Its keys are fetched later, too.
	provider, err := goidc.NewProvider(p.context(context.Background()), l.Issuer)
	if err != nil {
		return err
	}
	p.provider = provider
	var more struct {
		End string `json:"end_session_endpoint"`
	}
	if err := provider.Claims(&more); err == nil && strings.HasPrefix(more.End, "https://") {
		p.end = more.End
	}
	return nil
}

// who reads of a token whom it is of.
func (p *issuer) who(ctx context.Context, l *route.Login, token *oauth2.Token, nonce string) (person, error) {
	raw, ok := token.Extra("id_token").(string)
	if !ok {
		return person{}, errors.New("there is no ID token")
	}
	id, err := p.provider.Verifier(&goidc.Config{ClientID: l.ClientID}).Verify(ctx, raw)
	if err != nil {
		return person{}, err
	}
	if id.Nonce != nonce {
		return person{}, errors.New("the ID token is of another login")
	}
	var c claims
	if err := id.Claims(&c); err != nil {
		return person{}, err
	}
	if c.Email == "" && p.provider.UserInfoEndpoint() != "" {
		info, err := p.provider.UserInfo(ctx, oauth2.StaticTokenSource(token))
		if err == nil && info.Subject == id.Subject {
			_ = info.Claims(&c)
		}
	}
	return person{Subject: id.Subject, Name: c.Name, Email: c.email(), Groups: c.Groups}, nil
}
