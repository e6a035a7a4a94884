package proxy

import (
	"crypto/rand"
	"encoding/hex"
	"hash/fnv"
	"net/http"
	"net/netip"

	"github.com/sampan-cloud/sampan/internal/platform/gateway/route"
)

// cookieName is the cookie of rules that do not name theirs.
const cookieName = "sampan-client"

// share is where a client lies between 0 and 1. The backends divide that line
// by their weights, so a client stays where it is until the border passes it:
// from 5 % to 20 % nobody goes back who had come over. A client that cannot be
// told from others, without the header, goes by its address.
func share(s *route.Sticky, client netip.Addr, w http.ResponseWriter, r *http.Request) float64 {
	switch s.By {
	case route.ByHeader:
		if v := r.Header.Get(s.Name); v != "" {
			return fraction(v)
		}
	case route.ByCookie:
		name := s.Name
		if name == "" {
			name = cookieName
		}
		if c, err := r.Cookie(name); err == nil && c.Value != "" {
			return fraction(c.Value)
		}
		id := newID()
		http.SetCookie(w, &http.Cookie{
			Name: name, Value: id, Path: "/", MaxAge: int(s.MaxAge.Seconds()),
			HttpOnly: true, Secure: r.TLS != nil, SameSite: http.SameSiteLaxMode,
		})
		return fraction(id)
	}
	return fraction(client.String())
}

// fraction spreads names evenly over [0, 1).
func fraction(name string) float64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(name))
	// The high bits of FNV hardly depend on the last letters.
	v := h.Sum64()
	v ^= v >> 33
	v *= 0xff51afd7ed558ccd
	v ^= v >> 33
	return float64(v>>11) / (1 << 53)
}

func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}
