package proxy

import (
	"net/http"
	"net/netip"
	"testing"

	"github.com/sampan-cloud/sampan/internal/platform/gateway/route"
	"github.com/sampan-cloud/sampan/internal/platform/gateway/upstream"
)

// gate lets those in who say please.
type gate struct{ secure bool }

func (g *gate) Allow(l *route.Login, w http.ResponseWriter, r *http.Request, secure bool) bool {
	g.secure = secure
	if r.Header.Get("Please") == l.ClientID {
		r.Header.Set("X-Forwarded-User", "alice")
		return true
	}
	w.WriteHeader(http.StatusUnauthorized)
	return false
}

func TestARuleWithALoginAsksTheGate(t *testing.T) {
	echo := app(t, func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte(r.Header.Get("X-Forwarded-User"))) })
	rule := func(b *bench) {
		b.rule(&route.Rule{Policy: &route.Policy{Login: &route.Login{ClientID: "shop"}}, Backends: to(b.service("web", upstream.HTTP1, echo))})
	}
	t.Run("who is let in", func(t *testing.T) {
		b := newBench(t, Config{Gate: &gate{}})
		rule(b)
		if resp, body := b.do("GET", "/", "", "Please: shop"); resp.StatusCode != 200 || body != "alice" {
			t.Errorf("GET = %d %q; want 200 of alice", resp.StatusCode, body)
		}
	})
	t.Run("who is not", func(t *testing.T) {
		b := newBench(t, Config{Gate: &gate{}})
		rule(b)
		if resp, _ := b.do("GET", "/", ""); resp.StatusCode != 401 {
			t.Errorf("GET = %d; want what the gate says", resp.StatusCode)
		}
	})
	t.Run("without a gate nobody is", func(t *testing.T) {
		b := newBench(t, Config{})
		rule(b)
		if resp, _ := b.do("GET", "/", "", "Please: shop"); resp.StatusCode != 503 {
			t.Errorf("GET = %d; want 503", resp.StatusCode)
		}
	})
	t.Run("TLS may have ended at a proxy that is trusted", func(t *testing.T) {
		for _, trusted := range []bool{true, false} {
			g := &gate{}
			cfg := Config{Gate: g}
			if trusted {
				cfg.Trusted = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
			}
			b := newBench(t, cfg)
			rule(b)
			b.do("GET", "/", "", "Please: shop", "X-Forwarded-Proto: https")
			if g.secure != trusted {
				t.Errorf("of a proxy that is trusted (%v) the request is taken for secure: %v", trusted, g.secure)
			}
		}
	})
}
