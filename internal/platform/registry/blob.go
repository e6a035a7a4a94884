package registry

import (
	"context"
	"io"

	"cuelabs.dev/go/oci/ociregistry"
	"github.com/opencontainers/go-digest"

	"github.com/sampan-cloud/sampan/internal/base/fault"
	"github.com/sampan-cloud/sampan/internal/node/image"
)

// content is a blob, or a part of one, on its way to a client.
type content struct {
	io.Reader
	blob *image.Blob
	desc ociregistry.Descriptor
}

func (c content) Close() error                       { return c.blob.Close() }
func (c content) Descriptor() ociregistry.Descriptor { return c.desc }

// open opens a blob as what desc says it is. Its size comes from the disk.
func (r *Registry) open(desc ociregistry.Descriptor) (content, error) {
	blob, err := r.blobs.Open(desc.Digest)
	if err != nil {
		return content{}, unknown(err, ociregistry.ErrBlobUnknown)
	}
	desc.Size = blob.Size
	return content{blob, blob, desc}, nil
}

// unknown puts the protocol's word for what is not found.
func unknown(err error, word ociregistry.Error) error {
	if fault.Of(err) == fault.NotFound {
		return word
	}
	return err
}

func described(d digest.Digest, size int64) ociregistry.Descriptor {
	return ociregistry.Descriptor{MediaType: "application/octet-stream", Digest: d, Size: size}
}

func (r *Registry) getBlob(_ context.Context, repo string, d ociregistry.Digest) (ociregistry.BlobReader, error) {
	if !r.links.has(repo, d) {
		return nil, ociregistry.ErrBlobUnknown
	}
	c, err := r.open(described(d, 0))
	if err != nil {
		return nil, err
	}
	return c, nil
}

func (r *Registry) getBlobRange(_ context.Context, repo string, d ociregistry.Digest, from, to int64) (ociregistry.BlobReader, error) {
	if !r.links.has(repo, d) {
		return nil, ociregistry.ErrBlobUnknown
	}
	c, err := r.open(described(d, 0))
	if err != nil {
		return nil, err
	}
	if to < 0 || to > c.desc.Size {
		to = c.desc.Size
	}
	c.Reader = io.NewSectionReader(c.blob, from, max(to-from, 0))
	return c, nil
}

// resolveBlob tells that a blob is there. The client will not send it again, so
// it must stay until the manifest comes.
func (r *Registry) resolveBlob(_ context.Context, repo string, d ociregistry.Digest) (ociregistry.Descriptor, error) {
	if !r.links.has(repo, d) {
		return ociregistry.Descriptor{}, ociregistry.ErrBlobUnknown
	}
	if err := r.blobs.Keep(d); err != nil {
		return ociregistry.Descriptor{}, unknown(err, ociregistry.ErrBlobUnknown)
	}
	size, err := r.blobs.Stat(d)
	return described(d, size), unknown(err, ociregistry.ErrBlobUnknown)
}

func (r *Registry) mountBlob(ctx context.Context, from, to string, d ociregistry.Digest) (ociregistry.Descriptor, error) {
	desc, err := r.resolveBlob(ctx, from, d)
	if err != nil {
		return desc, err
	}
	return desc, r.links.add(to, d)
}

// deleteBlob takes a blob out of a repository. What nothing leads to any more,
// the image store collects.
func (r *Registry) deleteBlob(_ context.Context, repo string, d ociregistry.Digest) error {
	there, err := r.links.remove(repo, d)
	if err == nil && !there {
		return ociregistry.ErrBlobUnknown
	}
	return err
}
