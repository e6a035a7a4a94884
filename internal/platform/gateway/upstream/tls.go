package upstream

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// TLS says who a backend of HTTPS must prove to be. It does not change once it
// is used.
type TLS struct {
	ServerName string              // that is asked for
	Roots      []*x509.Certificate // who may vouch for it; none is whom the system trusts
	Names      []string            // one of them it must have; none is ServerName
	URIs       []string            // or one of these

	// Own is what the gateway proves itself by; nil is nothing.
	Own *tls.Certificate

	// Unverified takes anybody for it. What is sent can be read and changed by
	// who is in between.
	Unverified bool
}

// key tells one TLS from another.
func (t *TLS) key() string {
	if t == nil {
		return ""
	}
	h := sha256.New()
	fmt.Fprintln(h, t.ServerName, t.Unverified, t.Names, t.URIs)
	for _, c := range t.Roots {
		h.Write(c.Raw)
	}
	if t.Own != nil {
		h.Write([]byte("own"))
		for _, c := range t.Own.Certificate {
			h.Write(c)
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Client is how a connection to the backend is made.
func (t *TLS) Client() *tls.Config {
	conf := &tls.Config{ServerName: t.ServerName}
	if t.Own != nil {
		conf.Certificates = []tls.Certificate{*t.Own}
	}
	switch {
	case t.Unverified:
		conf.InsecureSkipVerify = true
		return conf
	case len(t.Roots) > 0:
		conf.RootCAs = x509.NewCertPool()
		for _, c := range t.Roots {
			conf.RootCAs.AddCert(c)
		}
	}
	if len(t.Names)+len(t.URIs) > 0 {
		// The name that is asked for is then none that must be proven: all else is
		// checked here as it would have been.
		conf.InsecureSkipVerify = true
		conf.VerifyConnection = func(s tls.ConnectionState) error {
			if err := t.verify(s, conf.RootCAs); err != nil {
				return &tls.CertificateVerificationError{UnverifiedCertificates: s.PeerCertificates, Err: err}
			}
			return nil
		}
	}
	return conf
}

func (t *TLS) verify(s tls.ConnectionState, roots *x509.CertPool) error {
	if len(s.PeerCertificates) == 0 {
		return errors.New("the backend shows no certificate")
	}
	leaf := s.PeerCertificates[0]
	between := x509.NewCertPool()
	for _, c := range s.PeerCertificates[1:] {
		between.AddCert(c)
	}
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between}); err != nil {
		return err
	}
	for _, name := range t.Names {
		// A wildcard is one that the certificate itself must have.
		if strings.HasPrefix(name, "*.") && slices.ContainsFunc(leaf.DNSNames, func(n string) bool { return strings.EqualFold(n, name) }) || !strings.HasPrefix(name, "*.") && leaf.VerifyHostname(name) == nil {
			return nil
		}
	}
	for _, uri := range leaf.URIs {
		if slices.Contains(t.URIs, uri.String()) {
			return nil
		}
	}
	return fmt.Errorf("the backend's certificate has none of the names %s", strings.Join(slices.Concat(t.Names, t.URIs), ", "))
}
