package image

import (
	"encoding/json"
	"fmt"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// A dockerEntry is one image in the manifest.json of docker save.
type dockerEntry struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// docker finds the images of an archive as docker save has written it for years:
// it has no manifests, so they are made here.
func (l *loader) docker() ([]Name, error) {
	var entries []dockerEntry
	if err := json.Unmarshal(l.small["manifest.json"], &entries); err != nil {
		return nil, fmt.Errorf("manifest.json: %w: %w", err, fault.Corrupt)
	}
	var names []Name
	for i, entry := range entries {
		target, err := l.dockerImage(entry)
		if err != nil {
			return nil, fmt.Errorf("image %d of %d: %w", i+1, len(entries), err)
		}
		tags := entry.RepoTags
		if len(tags) == 0 && l.opt.Name != "" {
			tags = []string{l.opt.Name}
		}
		for _, tag := range tags {
			named, err := ParseName(tag)
			if err != nil {
				return nil, err
			}
			names = append(names, Name{Name: named.String(), Target: target})
		}
		if len(tags) == 0 {
			names = append(names, Name{Name: untagged + target.Digest.String(), Target: target})
		}
	}
	return names, nil
}

// dockerImage makes the manifest of one image.
func (l *loader) dockerImage(entry dockerEntry) (ocispec.Descriptor, error) {
	var none ocispec.Descriptor
	config, err := l.content(entry.Config)
	if err != nil {
		return none, fmt.Errorf("config %s: %w", entry.Config, err)
	}
	var image ocispec.Image
	if err := json.Unmarshal(config, &image); err != nil {
		return none, fmt.Errorf("config %s: %w: %w", entry.Config, err, fault.Corrupt)
	}
	if len(image.RootFS.DiffIDs) != len(entry.Layers) {
		return none, fmt.Errorf("%d layers, but the config names %d: %w", len(entry.Layers), len(image.RootFS.DiffIDs), fault.Corrupt)
	}
	var layers []ocispec.Descriptor
	for i, p := range entry.Layers {
		desc, ok := l.blobs[l.follow(p)]
		if !ok {
			return none, fmt.Errorf("layer %d of %d: %s is not in the archive: %w", i+1, len(entry.Layers), p, fault.Corrupt)
		}
		if err := l.dockerLayer(&desc, image.RootFS.DiffIDs[i]); err != nil {
			return none, fmt.Errorf("layer %d of %d: %w", i+1, len(entry.Layers), err)
		}
		layers = append(layers, desc)
	}
	return l.manifest(config, layers)
}

// dockerLayer finds out what a layer is and that it is the one its image wants:
// such archives say only the digest of its tar.
func (l *loader) dockerLayer(desc *ocispec.Descriptor, want digest.Digest) (err error) {
	if desc.MediaType, err = l.layerType(desc.Digest); err != nil {
		return err
	}
	got := desc.Digest
	if desc.MediaType != ocispec.MediaTypeImageLayer {
		if got, err = l.diffID(desc.Digest); err != nil {
			return err
		}
	}
	if got != want {
		return fmt.Errorf("its content has digest %s, the image's config says %s: %w", got, want, fault.Corrupt)
	}
	return nil
}

// content returns a small file of the archive, wherever it went.
func (l *loader) content(p string) ([]byte, error) {
	p = l.follow(p)
	if data, ok := l.small[p]; ok {
		return data, nil
	}
	if desc, ok := l.blobs[p]; ok {
		return l.store.blobs.read(desc.Digest)
	}
	return nil, fmt.Errorf("not in the archive: %w", fault.Corrupt)
}
