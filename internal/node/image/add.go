package image

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// AddImage makes an image of layers that were made in this process: tars, plain
// or compressed, lowest first. It fills in config.RootFS and, where they are
// empty, the platform's fields. A pinned image stays until AddImage gives its
// name to another.
func (s *Store) AddImage(ctx context.Context, name string, config ocispec.Image, pinned bool, layers ...io.Reader) (Image, error) {
	named, err := ParseName(name)
	if err != nil {
		return Image{}, fmt.Errorf("add image: %w", err)
	}
	if !isTag(named.String()) {
		return Image{}, fmt.Errorf("add image %s: its digest follows from its content: %w", name, fault.Invalid)
	}
	a := &adder{store: s, hold: s.holds.begin()}
	defer a.hold.release()
	config.RootFS = ocispec.RootFS{Type: "layers"}
	if config.OS == "" {
		config.Platform = s.cfg.Platform
	}
	var descs []ocispec.Descriptor
	for i, layer := range layers {
		desc, diff, err := a.layer(ctx, layer)
		if err != nil {
			return Image{}, fmt.Errorf("add image %s: layer %d of %d: %w", named, i+1, len(layers), err)
		}
		descs = append(descs, desc)
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, diff)
	}
	data, err := json.Marshal(config)
	if err != nil {
		return Image{}, fmt.Errorf("add image %s: config: %w", named, err)
	}
	target, err := a.manifest(data, descs)
	if err == nil {
		err = s.Names(EngineNames).put(Name{Name: named.String(), Target: target, Pinned: pinned})
	}
	if err != nil {
		return Image{}, fmt.Errorf("add image %s: %w", named, err)
	}
	return s.Get(ctx, named.String())
}

// An adder stores the parts of images that come from elsewhere than a registry.
type adder struct {
	store *Store
	hold  *hold
}

// blob stores what r holds and returns its digest and size. When the digest is
// known before, the content must have it, and is not written again if it is here.
func (a *adder) blob(ctx context.Context, r io.Reader, want digest.Digest) (digest.Digest, int64, error) {
	if want != "" {
		a.hold.add(want)
		if size, err := a.store.blobs.Stat(want); err == nil {
			_, err := io.Copy(io.Discard, struct{ io.Reader }{r})
			return want, size, truncated(err)
		}
	}
	w, err := a.store.blobs.create(0)
	if err != nil {
		return "", 0, err
	}
	if _, err := io.CopyBuffer(struct{ io.Writer }{w}, contextReader{ctx, r}, make([]byte, 256<<10)); err != nil {
		return "", 0, errors.Join(truncated(err), w.Cancel())
	}
	if want == "" {
		want = w.Digest()
		a.hold.add(want)
	}
	return want, w.Offset(), w.Commit(want)
}

// layer stores a layer and finds out what it is: its media type and the digest of
// its tar.
func (a *adder) layer(ctx context.Context, r io.Reader) (ocispec.Descriptor, digest.Digest, error) {
	d, size, err := a.blob(ctx, r, "")
	if err != nil {
		return ocispec.Descriptor{}, "", err
	}
	desc := ocispec.Descriptor{Digest: d, Size: size}
	if desc.MediaType, err = a.layerType(d); err != nil || desc.MediaType == ocispec.MediaTypeImageLayer {
		return desc, d, err
	}
	diff, err := a.diffID(d)
	return desc, diff, err
}

// layerType returns the media type of a layer by its first bytes.
func (a *adder) layerType(d digest.Digest) (string, error) {
	blob, err := a.store.blobs.Open(d)
	if err != nil {
		return "", err
	}
	defer blob.Close()
	magic := make([]byte, len(zstdMagic))
	n, err := io.ReadFull(blob, magic)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return "", err
	}
	switch compression(magic[:n]) {
	case "gzip":
		return ocispec.MediaTypeImageLayerGzip, nil
	case "zstd":
		return ocispec.MediaTypeImageLayerZstd, nil
	}
	return ocispec.MediaTypeImageLayer, nil
}

// diffID is the digest of a compressed layer's tar.
func (a *adder) diffID(d digest.Digest) (digest.Digest, error) {
	blob, err := a.store.blobs.Open(d)
	if err != nil {
		return "", err
	}
	defer blob.Close()
	plain, err := decompress(blob)
	if err != nil {
		return "", err
	}
	defer plain.Close()
	diff, err := digest.SHA256.FromReader(plain)
	if err != nil {
		return "", truncated(err)
	}
	return diff, nil
}

// manifest stores a config and a manifest that puts it together with layers.
func (a *adder) manifest(config []byte, layers []ocispec.Descriptor) (ocispec.Descriptor, error) {
	desc := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageConfig, Digest: digest.FromBytes(config), Size: int64(len(config))}
	a.hold.add(desc.Digest)
	if err := a.store.blobs.put(config, desc); err != nil {
		return desc, err
	}
	data, err := json.Marshal(ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: ocispec.MediaTypeImageManifest,
		Config:    desc,
		Layers:    layers,
	})
	if err != nil {
		return desc, err
	}
	target := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromBytes(data), Size: int64(len(data))}
	a.hold.add(target.Digest)
	return target, a.store.blobs.put(data, target)
}

// contextReader ends a copy when the context does.
type contextReader struct {
	ctx context.Context // the length of one copy
	io.Reader
}

func (r contextReader) Read(p []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	return r.Reader.Read(p)
}
