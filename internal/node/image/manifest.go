package image

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// Docker's media types, which mean the same as OCI's.
const (
	dockerManifest     = "application/vnd.docker.distribution.manifest.v2+json"
	dockerIndex        = "application/vnd.docker.distribution.manifest.list.v2+json"
	dockerSchema1      = "application/vnd.docker.distribution.manifest.v1+json"
	dockerSchema1Signs = "application/vnd.docker.distribution.manifest.v1+prettyjws"
)

// maxJSON bounds what is read into memory: manifests, indexes and configs. The
// registries' own limit for manifests is 4 MiB.
const maxJSON = 8 << 20

// maxDepth bounds how deep indexes may lie in indexes.
const maxDepth = 4

// document is any manifest or index: the fields that lead to other blobs.
type document struct {
	SchemaVersion int                  `json:"schemaVersion"`
	MediaType     string               `json:"mediaType"`
	Config        *ocispec.Descriptor  `json:"config"`
	Layers        []ocispec.Descriptor `json:"layers"`
	Manifests     []ocispec.Descriptor `json:"manifests"`
	Blobs         []ocispec.Descriptor `json:"blobs"` // of the artifact manifests that OCI had for a while
}

func isIndex(mediaType string) bool {
	return mediaType == ocispec.MediaTypeImageIndex || mediaType == dockerIndex
}

func isManifest(mediaType string) bool {
	return mediaType == ocispec.MediaTypeImageManifest || mediaType == dockerManifest
}

// parse reads a manifest or an index.
func parse(data []byte) (document, error) {
	var doc document
	if err := json.Unmarshal(data, &doc); err != nil {
		return doc, fmt.Errorf("manifest is not JSON: %w: %w", err, fault.Corrupt)
	}
	if doc.SchemaVersion == 1 || doc.MediaType == dockerSchema1 || doc.MediaType == dockerSchema1Signs {
		return doc, fmt.Errorf("the image has docker's old manifest (schema 1): push it again with a newer docker: %w", fault.Unsupported)
	}
	return doc, nil
}

// kind returns the media type of a document whose sender did not say it.
func (doc document) kind() string {
	switch {
	case doc.MediaType != "":
		return doc.MediaType
	case doc.Manifests != nil:
		return ocispec.MediaTypeImageIndex
	}
	return ocispec.MediaTypeImageManifest
}

// read returns a small blob whole.
func (b *Blobs) read(d digest.Digest) ([]byte, error) {
	blob, err := b.Open(d)
	if err != nil {
		return nil, err
	}
	defer blob.Close()
	if blob.Size > maxJSON {
		return nil, fmt.Errorf("blob %s: %d bytes are too many for a manifest or a config: %w", d, blob.Size, fault.Invalid)
	}
	data, err := io.ReadAll(blob)
	if err != nil {
		return nil, fmt.Errorf("blob %s: %w", d, err)
	}
	return data, nil
}

func (s *Store) document(d digest.Digest) (document, error) {
	data, err := s.blobs.read(d)
	if err != nil {
		return document{}, err
	}
	doc, err := parse(data)
	if err != nil {
		return doc, fmt.Errorf("manifest %s: %w", d, err)
	}
	return doc, nil
}

// reach calls f for target and everything it leads to. What f refuses to enter,
// by returning false, is not followed.
func (s *Store) reach(target ocispec.Descriptor, f func(d ocispec.Descriptor) (enter bool, err error)) error {
	return s.reachDepth(target, true, 0, f)
}

func (s *Store) reachDepth(target ocispec.Descriptor, required bool, depth int, f func(ocispec.Descriptor) (bool, error)) error {
	if depth > maxDepth {
		return fmt.Errorf("index %s: indexes in indexes, more than %d deep: %w", target.Digest, maxDepth, fault.Invalid)
	}
	if !required {
		if _, err := s.blobs.Stat(target.Digest); err != nil {
			return nil // a platform that nobody wanted here
		}
	}
	if enter, err := f(target); err != nil || !enter {
		return err
	}
	doc, err := s.document(target.Digest)
	if err != nil {
		return err
	}
	leaves := slices.Concat(doc.Layers, doc.Blobs)
	if doc.Config != nil {
		leaves = append(leaves, *doc.Config)
	}
	for _, leaf := range leaves {
		if _, err := f(leaf); err != nil {
			return err
		}
	}
	for _, child := range doc.Manifests {
		if err := s.reachDepth(child, false, depth+1, f); err != nil {
			return err
		}
	}
	return nil
}

// complete tells whether everything that target leads to is here.
func (s *Store) complete(target ocispec.Descriptor) error {
	return s.reach(target, func(d ocispec.Descriptor) (bool, error) {
		if _, err := s.blobs.Stat(d.Digest); err != nil && !isForeign(d) {
			return false, err
		}
		return true, nil
	})
}

// isForeign tells layers that registries need not hold.
func isForeign(d ocispec.Descriptor) bool {
	return strings.Contains(d.MediaType, "foreign") || strings.Contains(d.MediaType, "nondistributable")
}

// platformsOf says what an index offers, for an error.
func platformsOf(all []ocispec.Descriptor) string {
	names := map[string]bool{}
	for _, d := range all {
		if d.Platform != nil && d.Platform.OS != "unknown" {
			names[platformName(*d.Platform)] = true
		}
	}
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(slices.Sorted(maps.Keys(names)), ", ")
}

func platformName(p ocispec.Platform) string {
	name := p.OS + "/" + p.Architecture
	if p.Variant != "" {
		name += "/" + p.Variant
	}
	return name
}
