package image

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Save writes images as one tar that is an OCI layout and a docker archive at
// once, as docker save does. A name saves that name; an ID saves all names of the
// image. The same images give the same bytes.
func (s *Store) Save(ctx context.Context, w io.Writer, refs ...string) error {
	hold := s.holds.begin()
	defer hold.release()
	a := saved{store: s, hold: hold, blobs: map[digest.Digest]bool{}}
	for _, ref := range refs {
		if err := a.add(ref); err != nil {
			return fmt.Errorf("save %s: %w", ref, err)
		}
	}
	if err := a.write(ctx, w); err != nil {
		return fmt.Errorf("save: %w", err)
	}
	return nil
}

// saved collects what an archive will hold.
type saved struct {
	store  *Store
	hold   *hold
	index  ocispec.Index
	docker []dockerEntry
	blobs  map[digest.Digest]bool
}

func (a *saved) add(ref string) error {
	s := a.store
	s.collect.RLock() // until what is found is held
	defer s.collect.RUnlock()
	found, _, err := s.find(ref, s.Names(EngineNames).List(""))
	if err != nil {
		return err
	}
	img, err := s.resolve(found[0].Target)
	if err != nil {
		return err
	}
	target := s.portable(&img)
	err = s.reach(target, func(d ocispec.Descriptor) (bool, error) {
		a.hold.add(d.Digest)
		a.blobs[d.Digest] = true
		return true, nil
	})
	if err != nil {
		return err
	}
	entry := dockerEntry{Config: blobPath(img.ID), RepoTags: []string{}, Layers: []string{}}
	for _, layer := range img.Layers {
		entry.Layers = append(entry.Layers, blobPath(layer.Digest))
	}
	for _, name := range found {
		if !isTag(name.Name) {
			continue
		}
		named, err := ParseName(name.Name)
		if err != nil {
			return err
		}
		desc := target
		desc.Annotations = map[string]string{containerdName: name.Name, ocispec.AnnotationRefName: named.(reference.Tagged).Tag()}
		a.index.Manifests = append(a.index.Manifests, desc)
		entry.RepoTags = append(entry.RepoTags, reference.FamiliarString(named))
	}
	if len(entry.RepoTags) == 0 {
		a.index.Manifests = append(a.index.Manifests, target)
	}
	a.docker = append(a.docker, entry)
	return nil
}

// portable returns what can be given away of an image: its index when all of
// that is here, else this platform's manifest.
func (s *Store) portable(img *Image) ocispec.Descriptor {
	missing := errors.New("missing")
	err := s.reach(img.Target, func(d ocispec.Descriptor) (bool, error) {
		if !isIndex(d.MediaType) {
			return isManifest(d.MediaType), nil
		}
		doc, err := s.document(d.Digest)
		if err != nil {
			return false, err
		}
		for _, child := range doc.Manifests {
			if s.complete(child) != nil {
				return false, missing
			}
		}
		return true, nil
	})
	target := img.Target
	if err != nil {
		target = img.Manifest
	}
	return ocispec.Descriptor{MediaType: target.MediaType, Digest: target.Digest, Size: target.Size}
}

func blobPath(d digest.Digest) string { return "blobs/" + d.Algorithm().String() + "/" + d.Encoded() }

func (a *saved) write(ctx context.Context, w io.Writer) error {
	out := tar.NewWriter(w)
	var all []digest.Digest
	for d := range a.blobs {
		all = append(all, d)
	}
	slices.Sort(all)
	for _, d := range all {
		if err := a.blob(ctx, out, d); err != nil {
			return err
		}
	}
	a.index.Versioned = specs.Versioned{SchemaVersion: 2}
	a.index.MediaType = ocispec.MediaTypeImageIndex
	for _, f := range []struct {
		name string
		v    any
	}{
		{"index.json", a.index},
		{"manifest.json", a.docker},
		{ocispec.ImageLayoutFile, ocispec.ImageLayout{Version: ocispec.ImageLayoutVersion}},
	} {
		data, err := json.Marshal(f.v)
		if err != nil {
			return err
		}
		if err := out.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: f.name, Mode: 0o644, Size: int64(len(data))}); err != nil {
			return err
		}
		if _, err := out.Write(data); err != nil {
			return err
		}
	}
	return out.Close()
}

func (a *saved) blob(ctx context.Context, out *tar.Writer, d digest.Digest) error {
	blob, err := a.store.blobs.Open(d)
	if err != nil {
		return err
	}
	defer blob.Close()
	if err := out.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: blobPath(d), Mode: 0o644, Size: blob.Size}); err != nil {
		return err
	}
	_, err = io.Copy(out, contextReader{ctx, blob})
	return err
}
