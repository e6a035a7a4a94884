package server

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/sampan-cloud/sampan/internal/platform/gateway/cert"
	"github.com/sampan-cloud/sampan/internal/platform/gateway/stream"
	"github.com/sampan-cloud/sampan/internal/platform/gateway/translate"
)

// ports is what Caddy is told of: what to listen on, and whom to ask for a
// certificate. Which name is asked by which rule is not in it.
type ports struct {
	binds   []translate.Bind
	clients map[string]*cert.ClientRule
}

func portsOf(r translate.Result) ports {
	slices.SortFunc(r.Binds, func(a, b translate.Bind) int { return a.Port - b.Port })
	return ports{r.Binds, r.Clients.Rules()}
}

func (p ports) equal(other ports) bool {
	return slices.Equal(p.binds, other.binds) && maps.EqualFunc(p.clients, other.clients, func(_, _ *cert.ClientRule) bool { return true })
}

// free leaves out the ports that some other program has. Caddy takes all of its
// configuration or nothing, and one Gateway's mistake must not keep the others'
// ports closed.
func (p ports) free(have ports) (ports, error) {
	var taken []error
	out := ports{clients: p.clients}
	for _, b := range p.binds {
		if !slices.ContainsFunc(have.binds, func(h translate.Bind) bool { return h.Port == b.Port }) {
			if err := stream.Free(b.Port); err != nil {
				taken = append(taken, fmt.Errorf("port %d: %w", b.Port, err))
				continue
			}
		}
		out.binds = append(out.binds, b)
	}
	return out, errors.Join(taken...)
}
