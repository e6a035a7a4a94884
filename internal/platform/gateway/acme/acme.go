// Package acme gets certificates from a public authority, by the protocol that
// Let's Encrypt and others speak (RFC 8555).
//
// It is told which names there are and gets their certificates on its own time,
// before anybody asks for them and long before they end. Nobody waits for the
// authority: until a name has a certificate, and when it cannot get one, whoever
// asks is told so and has another to show.
package acme

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// Config holds the settings of a Client. Dir is required.
type Config struct {
	Dir       string // where certificates and the account are kept
	Directory string // the authority's address; empty is Let's Encrypt
	Email     string // of whoever is told when something is wrong
	CA        string // file with certificates to trust the directory by; empty is the system's

	HTTPPort, TLSPort int // where the gateway listens: the authority asks there whose a name is

	Check time.Duration // how often certificates are looked at; zero is ten minutes
}

// Client has certificates of a public authority.
type Client struct {
	cfg   Config
	log   *slog.Logger
	magic *certmagic.Config
	cache *certmagic.Cache

	mu     sync.Mutex
	run    context.Context // of Run; nil before it
	wanted map[string]*name
}

// name is what became of a name that is wanted.
type name struct {
	stop   context.CancelFunc // nil before it has begun
	failed string             // why there is no new certificate
	at     time.Time          // when that was
}

// New returns a Client that does nothing until Run.
func New(cfg Config, log *slog.Logger) (*Client, error) {
	c := &Client{cfg: cfg, log: log, wanted: map[string]*name{}}
	template := certmagic.ACMEIssuer{
		CA: cfg.Directory, Email: cfg.Email, Agreed: true, Logger: zap.NewNop(),
		AltHTTPPort: cfg.HTTPPort, AltTLSALPNPort: cfg.TLSPort,
	}
	if template.CA == "" {
		template.CA = certmagic.LetsEncryptProductionCA
	}
	if cfg.CA != "" {
		roots, err := os.ReadFile(cfg.CA)
		if err != nil {
			return nil, fmt.Errorf("authorities to trust: %w", err)
		}
		template.TrustedRoots = x509.NewCertPool()
		if !template.TrustedRoots.AppendCertsFromPEM(roots) {
			return nil, fmt.Errorf("authorities to trust: %s has no certificate: %w", cfg.CA, fault.Invalid)
		}
	}
	c.cache = certmagic.NewCache(certmagic.CacheOptions{
		GetConfigForCert:   func(certmagic.Certificate) (*certmagic.Config, error) { return c.magic, nil },
		RenewCheckInterval: cfg.Check, Logger: zap.NewNop(),
	})
	c.magic = certmagic.New(c.cache, certmagic.Config{
		Storage: &certmagic.FileStorage{Path: cfg.Dir}, Logger: zap.NewNop(), OnEvent: c.happened,
	})
	c.magic.Issuers = []certmagic.Issuer{certmagic.NewACMEIssuer(c.magic, template)}
	return c, nil
}

// Run gets certificates until ctx ends.
func (c *Client) Run(ctx context.Context, ready func()) error {
	c.mu.Lock()
	c.run = ctx
	for n, w := range c.wanted {
		c.begin(n, w)
	}
	c.mu.Unlock()
	ready()
	defer c.cache.Stop()
	for {
		c.clean(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(cleanEvery):
		}
	}
}

const (
	cleanEvery = 24 * time.Hour
	// keepExpired is for those who look for what was shown when.
	keepExpired = 14 * 24 * time.Hour
)

// clean deletes certificates of names that are no longer wanted, once they have
// ended.
func (c *Client) clean(ctx context.Context) {
	err := certmagic.CleanStorage(ctx, c.magic.Storage, certmagic.CleanStorageOptions{
		Logger: zap.NewNop(), OCSPStaples: true, ExpiredCerts: true, ExpiredCertGracePeriod: keepExpired,
	})
	if err != nil && ctx.Err() == nil {
		c.log.Warn("old certificates not deleted", "dir", c.cfg.Dir, "err", err)
	}
}

// Want says which names are to have certificates. Those that are not among them
// are no longer renewed.
func (c *Client) Want(names []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	keep := make(map[string]bool, len(names))
	for _, n := range names {
		n = strings.ToLower(n)
		keep[n] = true
		if c.wanted[n] == nil {
			c.wanted[n] = &name{}
			c.begin(n, c.wanted[n])
		}
	}
	for n, w := range c.wanted {
		if keep[n] {
			continue
		}
		if w.stop != nil {
			w.stop()
		}
		c.cache.RemoveManaged([]certmagic.SubjectIssuer{{Subject: n}})
		delete(c.wanted, n)
	}
}

// begin gets a certificate for a name, if there is none from before. mu is held.
func (c *Client) begin(n string, w *name) {
	if c.run == nil || w.stop != nil {
		return
	}
	var ctx context.Context
	ctx, w.stop = context.WithCancel(c.run)
	if err := c.magic.ManageAsync(ctx, []string{n}); err != nil {
		w.failed, w.at = err.Error(), time.Now()
	}
}

// happened is told by certmagic what it has done.
func (c *Client) happened(_ context.Context, event string, data map[string]any) error {
	if event != "cert_obtained" && event != "cert_failed" {
		return nil
	}
	n, _ := data["identifier"].(string)
	renewal, _ := data["renewal"].(bool)
	why, _ := data["error"].(error)
	c.mu.Lock()
	defer c.mu.Unlock()
	w := c.wanted[n]
	if w == nil {
		return nil
	}
	w.failed, w.at = "", time.Now()
	if event == "cert_obtained" {
		c.log.Info("public certificate", "name", n, "renewal", renewal)
		return nil
	}
	w.failed = fmt.Sprint(why)
	c.log.Warn("no public certificate, trying again; another is shown until then", "name", n, "renewal", renewal, "err", why)
	return nil
}

// Certificate returns the certificate of a name, while it is good; nil is none.
func (c *Client) Certificate(hello *tls.ClientHelloInfo) *tls.Certificate {
	host := strings.ToLower(strings.TrimSuffix(hello.ServerName, "."))
	if host == "" {
		return nil
	}
	found := c.find(host)
	if found == nil || hello.SupportsCertificate(&found.Certificate) != nil {
		return nil
	}
	return &found.Certificate
}

// find returns the certificate of a name that is good the longest.
func (c *Client) find(host string) *certmagic.Certificate {
	var best *certmagic.Certificate
	for _, have := range c.cache.AllMatchingCertificates(host) {
		if !have.Expired() && (best == nil || have.Leaf.NotAfter.After(best.Leaf.NotAfter)) {
			best = &have
		}
	}
	return best
}

// Status is what became of a name.
type Status struct {
	Name     string     `json:"name"`
	NotAfter *time.Time `json:"notAfter,omitempty"` // when its certificate ends; nil while it has none
	Error    string     `json:"error,omitempty"`    // why there is no new one
	Since    *time.Time `json:"since,omitempty"`    // when it was last tried
}

// Statuses tells of all names that are wanted, in order.
func (c *Client) Statuses() []Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make([]Status, 0, len(c.wanted))
	for n, w := range c.wanted {
		s := Status{Name: n, Error: w.failed}
		if !w.at.IsZero() {
			at := w.at
			s.Since = &at
		}
		if have := c.find(n); have != nil {
			end := have.Leaf.NotAfter
			s.NotAfter = &end
		}
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b Status) int { return strings.Compare(a.Name, b.Name) })
	return out
}
