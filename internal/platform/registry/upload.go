package registry

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"

	"cuelabs.dev/go/oci/ociregistry"

	"github.com/sampan-cloud/sampan/internal/base/fault"
	"github.com/sampan-cloud/sampan/internal/node/image"
)

// upload is a blob that a client is sending. What has arrived outlives the
// connection and the process; the client asks how much that is and goes on.
type upload struct {
	*image.Writer
	registry *Registry
	repo     string
	call     *call
	over     bool
}

func (r *Registry) upload(ctx context.Context, repo string, w *image.Writer) *upload {
	return &upload{Writer: w, registry: r, repo: repo, call: callOf(ctx)}
}

func (r *Registry) startUpload(ctx context.Context, repo string, _ int) (ociregistry.BlobWriter, error) {
	w, err := r.blobs.Create()
	if err != nil {
		return nil, err
	}
	return r.upload(ctx, repo, w), nil
}

func (r *Registry) resumeUpload(ctx context.Context, repo, id string, _ int64, _ int) (ociregistry.BlobWriter, error) {
	w, err := r.reopen(id)
	if err != nil {
		return nil, uploadError(err)
	}
	u := r.upload(ctx, repo, w)
	// The offset of ociserver is zero when the client said nothing.
	if from := u.call.from; from != nil && *from != w.Offset() {
		u.Close()
		return nil, ociregistry.ErrRangeInvalid
	}
	return u, nil
}

// reopen opens an upload where it was left.
func (r *Registry) reopen(id string) (*image.Writer, error) {
	if w := r.parked.take(id); w != nil {
		return w, nil
	}
	return r.blobs.Resume(id)
}

func uploadError(err error) error {
	switch fault.Of(err) {
	case fault.NotFound, fault.Invalid:
		return ociregistry.ErrBlobUploadUnknown
	case fault.Precondition:
		return fmt.Errorf("%w: %w", err, ociregistry.ErrBlobUploadInvalid)
	}
	return err
}

// Write implements ociregistry.BlobWriter.
func (u *upload) Write(p []byte) (int, error) {
	n, err := u.Writer.Write(p)
	if err != nil {
		u.call.failure = fmt.Errorf("upload to %s: %w", u.repo, err)
	}
	return n, err
}

// Size implements ociregistry.BlobWriter.
func (u *upload) Size() int64 { return u.Offset() }

// ChunkSize implements ociregistry.BlobWriter: chunks of any size will do.
func (u *upload) ChunkSize() int { return 1 }

// Commit implements ociregistry.BlobWriter.
func (u *upload) Commit(d ociregistry.Digest) (ociregistry.Descriptor, error) {
	u.over = true
	size := u.Offset()
	if err := u.Writer.Commit(d); err != nil {
		if fault.Of(err) == fault.Corrupt {
			return ociregistry.Descriptor{}, fmt.Errorf("%w: %w", err, ociregistry.ErrDigestInvalid)
		}
		return ociregistry.Descriptor{}, err
	}
	return described(d, size), u.registry.links.add(u.repo, d)
}

// Close implements ociregistry.BlobWriter.
func (u *upload) Close() error {
	if u.over {
		return nil
	}
	u.over = true
	return u.registry.parked.put(u.Writer)
}

// Cancel implements ociregistry.BlobWriter.
func (u *upload) Cancel() error {
	if u.over {
		return nil
	}
	u.over = true
	return u.Writer.Cancel()
}

// pushBlob takes a blob in one request.
func (r *Registry) pushBlob(ctx context.Context, repo string, desc ociregistry.Descriptor, body io.Reader) (ociregistry.Descriptor, error) {
	w, err := r.startUpload(ctx, repo, 0)
	if err != nil {
		return desc, err
	}
	defer w.Cancel()
	if _, err := io.Copy(w, body); err != nil {
		return desc, err
	}
	if desc.Size >= 0 && w.Size() != desc.Size {
		return desc, ociregistry.ErrSizeInvalid
	}
	return w.Commit(desc.Digest)
}

// cancelUpload answers DELETE of an upload. Its name in the path is encoded the
// way ociserver does.
func (r *Registry) cancelUpload(w http.ResponseWriter, req *http.Request, t target) {
	id, err := base64.RawURLEncoding.DecodeString(t.ref)
	if err != nil {
		r.fail(w, req, ociregistry.ErrBlobUploadUnknown)
		return
	}
	up, err := r.reopen(string(id))
	if err == nil {
		err = up.Cancel()
	}
	if err != nil {
		r.fail(w, req, uploadError(err))
		return
	}
	w.WriteHeader(http.StatusNoContent)
}
