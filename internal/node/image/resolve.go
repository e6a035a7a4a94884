package image

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// choose returns the entries of an index that are for the platform, best first.
// An entry that does not say its platform comes last: the config will tell.
func choose(entries []ocispec.Descriptor, platform ocispec.Platform) ([]ocispec.Descriptor, error) {
	matcher := platforms.Only(platform)
	var fit []ocispec.Descriptor
	for _, d := range entries {
		if d.Platform != nil && !matcher.Match(*d.Platform) {
			continue
		}
		if isIndex(d.MediaType) || isManifest(d.MediaType) {
			fit = append(fit, d)
		}
	}
	if len(fit) == 0 {
		return nil, fmt.Errorf("there is no image for %s, only for: %s: %w", platformName(platform), platformsOf(entries), fault.NotFound)
	}
	slices.SortStableFunc(fit, func(a, b ocispec.Descriptor) int {
		switch {
		case a.Platform == nil && b.Platform == nil:
			return 0
		case a.Platform == nil:
			return 1
		case b.Platform == nil || matcher.Less(*a.Platform, *b.Platform):
			return -1
		case matcher.Less(*b.Platform, *a.Platform):
			return 1
		}
		return 0
	})
	return fit, nil
}

// resolve reads the image that target leads to from the blobs, for the store's
// platform.
func (s *Store) resolve(target ocispec.Descriptor) (Image, error) {
	s.mu.Lock()
	img, ok := s.whole[target.Digest]
	s.mu.Unlock()
	if ok {
		return img, nil
	}
	manifest, doc, err := s.pick(target, 0)
	if err != nil {
		return Image{}, err
	}
	if img, err = s.read(manifest, doc); err != nil {
		return Image{}, fmt.Errorf("manifest %s: %w", manifest.Digest, err)
	}
	img.Target = target
	s.mu.Lock()
	s.whole[target.Digest] = img
	s.mu.Unlock()
	return img, nil
}

// pick finds the manifest for the platform, through indexes.
func (s *Store) pick(target ocispec.Descriptor, depth int) (ocispec.Descriptor, document, error) {
	doc, err := s.document(target.Digest)
	if err != nil || !isIndex(doc.kind()) {
		return target, doc, err
	}
	if depth == maxDepth {
		return target, doc, fmt.Errorf("index %s: indexes in indexes, more than %d deep: %w", target.Digest, maxDepth, fault.Invalid)
	}
	fit, err := choose(doc.Manifests, s.cfg.Platform)
	if err != nil {
		return target, doc, err
	}
	var first error
	for _, child := range fit {
		manifest, doc, err := s.pick(child, depth+1)
		if err == nil {
			return manifest, doc, nil
		}
		first = cmp.Or(first, err)
	}
	return target, doc, first
}

// read builds the Image of a manifest.
func (s *Store) read(manifest ocispec.Descriptor, doc document) (Image, error) {
	if doc.Config == nil {
		return Image{}, fmt.Errorf("it has no config, so it is no image that can run: %w", fault.Unsupported)
	}
	data, err := s.blobs.read(doc.Config.Digest)
	if err != nil {
		return Image{}, fmt.Errorf("config: %w", err)
	}
	img := Image{ID: doc.Config.Digest, Manifest: manifest, Size: int64(len(data))}
	if err := json.Unmarshal(data, &img.Config); err != nil {
		return Image{}, fmt.Errorf("config %s: %w: %w", doc.Config.Digest, err, fault.Corrupt)
	}
	diffs := img.Config.RootFS.DiffIDs
	if len(diffs) != len(doc.Layers) {
		return Image{}, fmt.Errorf("%d layers, but the config names %d: %w", len(doc.Layers), len(diffs), fault.Corrupt)
	}
	chain := identity.ChainIDs(slices.Clone(diffs))
	for i, layer := range doc.Layers {
		if err := diffs[i].Validate(); err != nil {
			return Image{}, fmt.Errorf("config: layer %d: %w: %w", i+1, err, fault.Corrupt)
		}
		img.Layers = append(img.Layers, Layer{Descriptor: layer, DiffID: diffs[i], ChainID: chain[i]})
		img.Size += layer.Size
	}
	if img.Config.Created != nil {
		img.Created = *img.Config.Created
	}
	return img, nil
}

// List returns the images of the engine, those made last first.
func (s *Store) List(ctx context.Context) ([]Image, error) {
	return s.images(s.Names(EngineNames).List("")), nil
}

// images groups names by the image that they lead to.
func (s *Store) images(names []Name) []Image {
	byID := map[digest.Digest]*Image{}
	for _, name := range names {
		found, err := s.resolve(name.Target)
		if err != nil {
			// Set made sure that all is here, so this is a store for another
			// platform or something that is no image.
			s.log.Debug("name leads to no image for this node", "image", name.Name, "err", err)
			continue
		}
		img := byID[found.ID]
		if img == nil {
			img = &found
			byID[found.ID] = img
		}
		s.addName(img, name)
	}
	var all []Image
	for _, img := range byID {
		all = append(all, *img)
	}
	slices.SortFunc(all, func(a, b Image) int {
		return cmp.Or(b.Created.Compare(a.Created), cmp.Compare(a.ID, b.ID))
	})
	return all
}

// addName adds one of the engine's names that leads to the image.
func (s *Store) addName(img *Image, name Name) {
	img.Pinned = img.Pinned || name.Pinned
	img.Origin = img.Origin || s.Names(RegistryNames).leadTo(name.Target.Digest)
	repo := repository(name.Name)
	if repo == "" {
		return // see untagged
	}
	if isTag(name.Name) {
		img.Names = append(img.Names, name.Name)
	} else {
		img.Origin = true // a pull leaves such a name
	}
	full := repo + "@" + name.Target.Digest.String()
	if !slices.Contains(img.Digests, full) {
		img.Digests = append(img.Digests, full)
	}
}
