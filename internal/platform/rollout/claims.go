package rollout

import (
	"context"
	"fmt"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sampan-cloud/sampan/api/v1alpha1"
	"github.com/sampan-cloud/sampan/internal/platform/rollout/internal/object"
)

// claims finds which of the app's addresses belong to an older app, and says so
// in its status. Apps of one namespace may share a host with different paths;
// those of different namespaces may not, since whoever has the host has its
// cookies and its certificate.
func (p *pass) claims(ctx context.Context) (map[object.Claim]bool, error) {
	lost := map[object.Claim]bool{}
	message := ""
	hosts := []string{}
	for _, c := range object.Claims(p.app, p.gateway) {
		var rivals v1alpha1.AppList
		if err := p.List(ctx, &rivals, client.MatchingFields{indexHost: c.Host}); err != nil {
			return nil, err
		}
		for i := range rivals.Items {
			other := &rivals.Items[i]
			if other.UID == p.app.UID || !older(other, p.app) || !p.collide(c, other) {
				continue
			}
			lost[c] = true
			if message == "" {
				message = fmt.Sprintf("%s%s belongs to the older app %s/%s", c.Host, c.Path, other.Namespace, other.Name)
			}
		}
		if !lost[c] && (len(hosts) == 0 || hosts[len(hosts)-1] != c.Host) {
			hosts = append(hosts, c.Host)
		}
	}
	p.app.Status.Hosts, p.app.Status.URL = hosts, ""
	if len(hosts) > 0 {
		p.app.Status.URL = "http://" + hosts[0]
	}
	p.conflict(message)
	return lost, nil
}

// collide says whether an app has the address c.
func (p *pass) collide(c object.Claim, other *v1alpha1.App) bool {
	for _, o := range object.Claims(other, p.gateway) {
		if o.Host == c.Host && (o.Path == c.Path || other.Namespace != p.app.Namespace) {
			return true
		}
	}
	return false
}

func older(a, b *v1alpha1.App) bool {
	if !a.CreationTimestamp.Equal(&b.CreationTimestamp) {
		return a.CreationTimestamp.Before(&b.CreationTimestamp)
	}
	return a.Namespace+"/"+a.Name < b.Namespace+"/"+b.Name
}
