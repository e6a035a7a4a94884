package image

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"github.com/distribution/reference"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	upstream "github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// PushOptions say how to push.
type PushOptions struct {
	Auth     *Auth
	Progress func(Progress) // called often, from many goroutines
}

// Push sends an image to the registry that its name says, never to a mirror. An
// index goes with all its platforms when they are here, else only this node's
// manifest goes. What the registry has is not sent.
func (s *Store) Push(ctx context.Context, ref string, opt PushOptions) (ocispec.Descriptor, error) {
	named, err := ParseName(ref)
	if err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("push: %w", err)
	}
	target, err := s.push(ctx, named, opt)
	if err != nil {
		return target, fmt.Errorf("push %s: %w", named, err)
	}
	return target, nil
}

func (s *Store) push(ctx context.Context, named reference.Named, opt PushOptions) (ocispec.Descriptor, error) {
	var none ocispec.Descriptor
	tagged, ok := named.(reference.Tagged)
	if !ok {
		return none, fmt.Errorf("only a name with a tag can be pushed: %w", fault.Invalid)
	}
	release, err := s.Hold(ctx, named.String())
	if err != nil {
		return none, err
	}
	defer release()
	img, err := s.Get(ctx, named.String())
	if err != nil {
		return none, err
	}
	ends, err := s.hosts.endpoints(reference.Domain(named), reference.Path(named), opt.Auth)
	if err != nil {
		return none, err
	}
	end := ends[len(ends)-1]
	target := s.portable(&img)
	p := &pushed{store: s, progress: opt.Progress}
	thing, err := p.taggable(target)
	if err != nil {
		return target, err
	}
	err = upstream.Push(end.repo.Tag(tagged.Tag()), thing,
		upstream.WithContext(ctx), upstream.WithAuth(end.auth), upstream.WithTransport(end.base), upstream.WithJobs(s.cfg.Parallel))
	return target, explain(ctx, end, "repository "+reference.Path(named), err)
}

// pushed gives the registry library blobs of the store.
type pushed struct {
	store    *Store
	progress func(Progress)
}

func (p *pushed) taggable(d ocispec.Descriptor) (upstream.Taggable, error) {
	if isIndex(d.MediaType) {
		return &pushedIndex{pushed: p, desc: d}, nil
	}
	return p.image(d)
}

func (p *pushed) image(d ocispec.Descriptor) (v1.Image, error) {
	data, err := p.store.blobs.read(d.Digest)
	if err != nil {
		return nil, err
	}
	doc, err := parse(data)
	if err != nil {
		return nil, err
	}
	if doc.Config == nil {
		return nil, fmt.Errorf("manifest %s has no config: %w", d.Digest, fault.Unsupported)
	}
	return partial.CompressedToImage(&pushedImage{pushed: p, desc: d, raw: data, doc: doc})
}

type pushedImage struct {
	*pushed
	desc ocispec.Descriptor
	raw  []byte
	doc  document
}

func (i *pushedImage) RawManifest() ([]byte, error) { return i.raw, nil }
func (i *pushedImage) MediaType() (types.MediaType, error) {
	return types.MediaType(i.desc.MediaType), nil
}
func (i *pushedImage) RawConfigFile() ([]byte, error) {
	return i.store.blobs.read(i.doc.Config.Digest)
}

func (i *pushedImage) LayerByDigest(h v1.Hash) (partial.CompressedLayer, error) {
	for _, layer := range append(i.doc.Layers, *i.doc.Config) {
		if layer.Digest == digest.Digest(h.String()) {
			return &pushedLayer{pushed: i.pushed, desc: layer}, nil
		}
	}
	return nil, fmt.Errorf("layer %s: %w", h, fault.NotFound)
}

type pushedLayer struct {
	*pushed
	desc ocispec.Descriptor
}

func (l *pushedLayer) Digest() (v1.Hash, error) { return v1.NewHash(l.desc.Digest.String()) }
func (l *pushedLayer) Size() (int64, error)     { return l.desc.Size, nil }
func (l *pushedLayer) MediaType() (types.MediaType, error) {
	return types.MediaType(l.desc.MediaType), nil
}

// Compressed opens the blob for sending.
func (l *pushedLayer) Compressed() (io.ReadCloser, error) {
	blob, err := l.store.blobs.Open(l.desc.Digest)
	if err != nil {
		return nil, err
	}
	report := Progress{Digest: l.desc.Digest, Step: "upload", Total: l.desc.Size}
	return struct {
		io.Reader
		io.Closer
	}{&metered{Reader: blob, progress: l.progress, report: report}, blob}, nil
}

type pushedIndex struct {
	*pushed
	desc ocispec.Descriptor
}

func (x *pushedIndex) MediaType() (types.MediaType, error) {
	return types.MediaType(x.desc.MediaType), nil
}
func (x *pushedIndex) Digest() (v1.Hash, error)     { return v1.NewHash(x.desc.Digest.String()) }
func (x *pushedIndex) Size() (int64, error)         { return x.desc.Size, nil }
func (x *pushedIndex) RawManifest() ([]byte, error) { return x.store.blobs.read(x.desc.Digest) }

func (x *pushedIndex) IndexManifest() (*v1.IndexManifest, error) {
	data, err := x.RawManifest()
	if err != nil {
		return nil, err
	}
	return v1.ParseIndexManifest(bytes.NewReader(data))
}

func (x *pushedIndex) Image(h v1.Hash) (v1.Image, error) {
	d, err := x.child(h)
	if err != nil {
		return nil, err
	}
	return x.image(d)
}

func (x *pushedIndex) ImageIndex(h v1.Hash) (v1.ImageIndex, error) {
	d, err := x.child(h)
	return &pushedIndex{pushed: x.pushed, desc: d}, err
}

func (x *pushedIndex) child(h v1.Hash) (ocispec.Descriptor, error) {
	doc, err := x.store.document(x.desc.Digest)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	for _, child := range doc.Manifests {
		if child.Digest == digest.Digest(h.String()) {
			return child, nil
		}
	}
	return ocispec.Descriptor{}, fmt.Errorf("manifest %s: %w", h, fault.NotFound)
}

// metered reports how much of a blob is read.
type metered struct {
	io.Reader
	progress func(Progress)
	report   Progress
}

func (m *metered) Read(p []byte) (int, error) {
	n, err := m.Reader.Read(p)
	m.report.Done += int64(n)
	if m.progress != nil && n > 0 {
		m.progress(m.report)
	}
	return n, err
}
