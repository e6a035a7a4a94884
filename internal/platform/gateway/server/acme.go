package server

import (
	"encoding/json"
	"net"
	"net/http"
	"strings"

	"github.com/sampan-cloud/sampan/internal/platform/gateway/acme"
)

// openACME makes the client of the public authority, where the settings name one.
func (s *Server) openACME() (err error) {
	a := s.cfg.ACME
	if a == nil {
		return nil
	}
	s.acme, err = acme.New(acme.Config{
		Dir: s.cfg.DataDir, Directory: a.Directory, Email: a.Email, CA: a.CA,
		HTTPPort: s.cfg.HTTPPort, TLSPort: s.cfg.HTTPSPort,
	}, s.log)
	if err == nil {
		s.certs.Public = s.acme.Certificate
	}
	return err
}

// publicNames are those that the world can look up. Others a public authority
// could not find, and counts the attempts.
func (s *Server) publicNames(names []string) []string {
	var out []string
	for _, n := range names {
		if s.public(n) {
			out = append(out, n)
		}
	}
	return out
}

func (s *Server) public(name string) bool {
	if net.ParseIP(name) != nil || !strings.Contains(name, ".") {
		return false
	}
	for _, local := range []string{s.cfg.Domain, "local", "localhost", "internal", "test", "example", "invalid", "home.arpa"} {
		if name == local || strings.HasSuffix(name, "."+local) {
			return false
		}
	}
	return true
}

// certificates answers what became of public names.
func (s *Server) certificates(w http.ResponseWriter, _ *http.Request) {
	all := []acme.Status{}
	if s.acme != nil {
		all = s.acme.Statuses()
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"certificates": all})
}
