package kube

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net/netip"
	"os"
	"slices"
	"time"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

const (
	authorityLife = 10 * 365 * 24 * time.Hour
	leafLife      = 365 * 24 * time.Hour
	// renewBefore leaves a machine that is off for two months time to come back
	// with certificates that still work.
	renewBefore = 60 * 24 * time.Hour
)

// pair is where a certificate and its key are kept.
type pair struct{ cert, key string }

// authority signs leaf certificates with a key that is made once.
type authority struct {
	files pair
	cert  *x509.Certificate
	key   *ecdsa.PrivateKey
	now   func() time.Time
}

// openAuthority reads an authority, or makes it when neither of its files
// is there.
func openAuthority(files pair, name string, now func() time.Time) (*authority, error) {
	a := &authority{files: files, now: now}
	cert, key, err := loadPair(files)
	switch {
	case err == nil:
		a.cert, a.key = cert, key
		return a, nil
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	if _, err := os.Stat(files.cert); err == nil {
		// A new key here would lock out everyone who holds a certificate.
		return nil, fmt.Errorf("%s is there but its key %s is not: %w", files.cert, files.key, fault.Corrupt)
	}
	if a.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return nil, err
	}
	tmpl, err := template(name, now(), authorityLife)
	if err != nil {
		return nil, err
	}
	tmpl.IsCA, tmpl.BasicConstraintsValid = true, true
	tmpl.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, a.key.Public(), a.key)
	if err != nil {
		return nil, err
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		return nil, err
	}
	return a, savePair(files, der, a.key)
}

// leaf is what a certificate should say.
type leaf struct {
	files  pair
	name   string
	groups []string
	dns    []string
	ips    []netip.Addr
	server bool // shown by a server; otherwise by a client
}

// ensure makes l's certificate when it is missing, near its end, signed by
// another authority or says something else. It reports whether it did.
func (a *authority) ensure(l leaf) (renewed bool, err error) {
	if cert, _, err := loadPair(l.files); err == nil && a.serves(cert, l) {
		return false, nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return false, err
	}
	tmpl, err := template(l.name, a.now(), leafLife)
	if err != nil {
		return false, err
	}
	tmpl.Subject.Organization = l.groups
	tmpl.DNSNames = l.dns
	for _, ip := range l.ips {
		tmpl.IPAddresses = append(tmpl.IPAddresses, ip.AsSlice())
	}
	tmpl.KeyUsage = x509.KeyUsageDigitalSignature
	tmpl.ExtKeyUsage = []x509.ExtKeyUsage{usage(l.server)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.cert, key.Public(), a.key)
	if err != nil {
		return false, fmt.Errorf("sign %s: %w", l.name, err)
	}
	return true, savePair(l.files, der, key)
}

// serves reports whether cert still does what l asks for.
func (a *authority) serves(cert *x509.Certificate, l leaf) bool {
	// Not valid yet is as bad as not any more: the clock was wrong when it was made.
	if a.now().Before(cert.NotBefore) || a.now().Add(renewBefore).After(cert.NotAfter) || cert.CheckSignatureFrom(a.cert) != nil {
		return false
	}
	for _, ip := range l.ips {
		if cert.VerifyHostname(ip.String()) != nil {
			return false
		}
	}
	return cert.Subject.CommonName == l.name &&
		slices.Equal(cert.Subject.Organization, l.groups) &&
		slices.Equal(cert.DNSNames, l.dns) &&
		len(cert.IPAddresses) == len(l.ips) &&
		slices.Contains(cert.ExtKeyUsage, usage(l.server))
}

func usage(server bool) x509.ExtKeyUsage {
	if server {
		return x509.ExtKeyUsageServerAuth
	}
	return x509.ExtKeyUsageClientAuth
}

func template(name string, now time.Time, life time.Duration) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    now.Add(-time.Hour), // clocks differ
		NotAfter:     now.Add(life),
	}, nil
}

// savePair writes the key first: a certificate without its key is never seen.
func savePair(files pair, der []byte, key *ecdsa.PrivateKey) error {
	b, err := pemKey(key)
	if err != nil {
		return err
	}
	if err := writeFile(files.key, b); err != nil {
		return err
	}
	return writeFile(files.cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func loadPair(files pair) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	cert, err := readPEM(files.cert, x509.ParseCertificate)
	if err != nil {
		return nil, nil, err
	}
	key, err := readPEM(files.key, x509.ParseECPrivateKey)
	if err != nil {
		return nil, nil, err
	}
	if !key.PublicKey.Equal(cert.PublicKey) {
		return nil, nil, fmt.Errorf("%s and %s do not belong together: %w", files.cert, files.key, fault.Corrupt)
	}
	return cert, key, nil
}

func readPEM[T any](path string, parse func([]byte) (T, error)) (T, error) {
	var none T
	b, err := os.ReadFile(path)
	if err != nil {
		return none, err
	}
	block, _ := pem.Decode(b)
	if block == nil {
		return none, fmt.Errorf("%s: no PEM block: %w", path, fault.Corrupt)
	}
	v, err := parse(block.Bytes)
	if err != nil {
		return none, fmt.Errorf("%s: %w: %w", path, err, fault.Corrupt)
	}
	return v, nil
}

func pemKey(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), nil
}

func pemPublicKey(key crypto.PublicKey) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), nil
}
