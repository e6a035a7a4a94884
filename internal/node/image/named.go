package image

import (
	"context"
	"fmt"

	"github.com/distribution/reference"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Digest returns what ref leads to today, as its repository's name with the
// digest: here, where the node would take it from, or else in its registry.
// Nothing is downloaded. A name with a digest is returned as it is.
func (s *Store) Digest(ctx context.Context, ref string) (string, error) {
	named, err := ParseName(ref)
	if err != nil {
		return "", err
	}
	tagged, ok := named.(reference.NamedTagged)
	if !ok {
		return named.String(), nil
	}
	if found, _, err := s.find(named.String(), s.Names(EngineNames).List("")); err == nil {
		return withDigest(named, found[0].Target.Digest), nil
	}
	ends, err := s.hosts.endpoints(reference.Domain(named), reference.Path(named), nil)
	if err != nil {
		return "", fmt.Errorf("digest of %s: %w", named, err)
	}
	var remotes []*remote
	for _, e := range ends {
		remotes = append(remotes, &remote{endpoint: e, hosts: &s.hosts, stall: s.cfg.Stall})
	}
	var target ocispec.Descriptor
	if err := s.everywhere(ctx, remotes, func(r *remote) (bool, error) {
		_, d, err := r.manifest(ctx, tagged.Tag())
		target = d
		return false, err
	}); err != nil {
		return "", fmt.Errorf("digest of %s: %w", named, err)
	}
	return withDigest(named, target.Digest), nil
}
