package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// downloadID names the upload that a download writes to. It depends on the blob
// only, so a later pull goes on where this one stops.
func downloadID(d digest.Digest) string { return "pull-" + d.Algorithm().String() + "-" + d.Encoded() }

// fetch brings a blob into the store unless it is there. Whoever wants the same
// blob at the same time shares the download.
func (s *Store) fetch(ctx context.Context, remotes []*remote, want ocispec.Descriptor, progress func(Progress)) error {
	report := func(step string, done int64) {
		if progress != nil && ctx.Err() == nil {
			progress(Progress{Digest: want.Digest, Step: step, Done: done, Total: want.Size})
		}
	}
	if err := want.Digest.Validate(); err != nil {
		return fmt.Errorf("blob %q: %w: %w", want.Digest, err, fault.Corrupt)
	}
	for {
		if size, err := s.blobs.Stat(want.Digest); err == nil {
			if size != want.Size {
				return fmt.Errorf("blob %s has %d bytes, the manifest says %d: %w", want.Digest, size, want.Size, fault.Corrupt)
			}
			report("exists", want.Size)
			return nil
		}
		own, err := s.flights.do(ctx, want.Digest, func(done int64) { report("download", done) },
			func(ctx context.Context, tell func(int64)) error { return s.download(ctx, remotes, want, tell) })
		if err == nil {
			report("done", want.Size)
			return nil
		}
		if own || ctx.Err() != nil {
			return err
		}
		// Somebody else's attempt failed, perhaps for want of our credentials.
	}
}

// download brings a blob from the first remote that has it whole. Content that is
// not what the digest says is thrown away and asked for again, from the next
// remote or, when it was put together from several attempts, from the start.
func (s *Store) download(ctx context.Context, remotes []*remote, want ocispec.Descriptor, tell func(int64)) error {
	what := "blob " + want.Digest.String()
	return s.everywhere(ctx, remotes, func(r *remote) (bool, error) {
		w, err := s.blobs.write(downloadID(want.Digest), os.O_CREATE, 0)
		if err != nil {
			return false, err
		}
		resumed := w.Offset() > 0
		if w.Offset() > want.Size {
			if err := w.reset(); err != nil {
				return false, errors.Join(err, w.Cancel())
			}
		}
		before := w.Offset()
		if err := s.fill(ctx, r, want, w, tell); err != nil {
			return w.Offset() > before, errors.Join(explain(ctx, r.endpoint, what, err), w.giveUp(err))
		}
		err = w.Commit(want.Digest)
		if err != nil && resumed && fault.Of(err) == fault.Corrupt {
			// A power cut may leave a file whose end was never written.
			return false, fmt.Errorf("%s: what was left of an earlier download did not fit: %w: %w", r.host, fault.Unavailable, err)
		}
		if err != nil && fault.Of(err) != fault.Exhausted {
			err = fmt.Errorf("%s sent something else: %w", r.host, err)
		}
		return false, err
	})
}

// fill appends to w what the remote has of the blob beyond w's offset.
func (s *Store) fill(ctx context.Context, r *remote, want ocispec.Descriptor, w *Writer, tell func(int64)) error {
	if w.Offset() == want.Size {
		return nil
	}
	resp, err := r.blob(ctx, want, w.Offset())
	if err != nil && w.Offset() > 0 && refusesRange(err) {
		resp, err = r.blob(ctx, want, 0)
	}
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusPartialContent {
		if got, want := resp.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-", w.Offset()); !strings.HasPrefix(got, want) {
			return fmt.Errorf("asked for %q it sent %q: %w", want, got, fault.Invalid)
		}
	} else if w.Offset() > 0 { // it sends the whole
		if err := w.reset(); err != nil {
			return err
		}
	}
	// One byte more than expected shows that the blob is too long, before it fills
	// the disk.
	body := &counted{Reader: io.LimitReader(resp.Body, want.Size-w.Offset()+1), w: w, tell: tell}
	if _, err := io.CopyBuffer(struct{ io.Writer }{w}, body, make([]byte, 256<<10)); err != nil {
		return err
	}
	switch {
	case w.Offset() < want.Size:
		return fmt.Errorf("blob ended after %d of %d bytes: %w", w.Offset(), want.Size, io.ErrUnexpectedEOF)
	case w.Offset() > want.Size:
		return fmt.Errorf("blob is longer than the %d bytes that the manifest says: %w", want.Size, fault.Corrupt)
	}
	return nil
}

// blob asks for a blob from an offset on. Registries need not hold a foreign
// layer; it names addresses itself, which are asked as this machine asks
// registries at those hosts, but without anybody's credentials.
func (r *remote) blob(ctx context.Context, want ocispec.Descriptor, offset int64) (*http.Response, error) {
	part := span{offset, want.Size}
	resp, err := r.get(ctx, "/blobs/"+want.Digest.String(), "", part)
	if err == nil || !isForeign(want) {
		return resp, err
	}
	for _, u := range want.URLs {
		where, bad := url.Parse(u)
		if bad != nil || where.Scheme != "https" {
			continue
		}
		t, bad := r.hosts.transport(where.Host)
		if bad != nil {
			return nil, bad
		}
		if resp, err = r.ask(ctx, &http.Client{Transport: t}, u, "", part); err == nil {
			break
		}
	}
	return resp, err
}

// refusesRange tells whether a registry may only dislike being asked for a part.
func refusesRange(err error) bool {
	var answer *transport.Error
	return errors.As(err, &answer) && (answer.StatusCode == http.StatusRequestedRangeNotSatisfiable || answer.StatusCode == http.StatusBadRequest)
}

// counted reports how far a download is.
type counted struct {
	io.Reader
	w    *Writer
	tell func(int64)
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.tell(c.w.Offset() + int64(n))
	return n, err
}

// reset begins the upload anew.
func (w *Writer) reset() error {
	if err := w.file.Truncate(0); err != nil {
		return err
	}
	if _, err := w.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	w.hash.Reset()
	w.offset = 0
	return nil
}

// giveUp keeps what a broken download has for the next attempt, unless it is
// wrong or there is no room for it.
func (w *Writer) giveUp(why error) error {
	switch fault.Of(why) {
	case fault.Exhausted, fault.Corrupt, fault.Invalid:
		return w.Cancel()
	}
	return w.Close()
}
