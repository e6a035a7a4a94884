package image

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// A remote reads one repository at one endpoint. The login happens with the first
// request and is shared by all later ones.
type remote struct {
	endpoint
	hosts *hosts // for what lies elsewhere
	stall time.Duration

	mu     sync.Mutex
	client *http.Client
}

// login asks the registry how it wants to be asked, once.
func (r *remote) login(ctx context.Context) (*http.Client, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.client != nil {
		return r.client, nil
	}
	t, err := transport.NewWithContext(ctx, r.repo.Registry, r.auth, r.base, []string{r.repo.Scope(transport.PullScope)})
	if err != nil {
		return nil, err
	}
	r.client = &http.Client{Transport: t}
	return r.client, nil
}

// span is the part of a blob to ask for; the zero span is all of it.
type span struct{ from, size int64 }

// get asks for something below the repository. The answer's status is 200 or,
// when part is not all, perhaps 206. A registry that falls silent
// ends the answer's body with an error.
func (r *remote) get(ctx context.Context, path, accept string, part span) (*http.Response, error) {
	client, err := r.login(ctx)
	if err != nil {
		return nil, err
	}
	u := url.URL{Scheme: r.repo.Scheme(), Host: r.repo.RegistryStr(), Path: "/v2/" + r.repo.RepositoryStr() + path}
	if r.mirror {
		// Caches that serve many registries tell them apart by this.
		u.RawQuery = url.Values{"ns": {r.origin}}.Encode()
	}
	return r.ask(ctx, client, u.String(), accept, part)
}

func (r *remote) ask(ctx context.Context, client *http.Client, u, accept string, part span) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u, nil)
	if err != nil {
		cancel(nil)
		return nil, err
	}
	if accept != "" {
		req.Header.Set("Accept", accept)
	}
	if part.from > 0 { // with its end, for some registries know no other form
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", part.from, part.size-1))
	}
	resp, err := client.Do(req)
	if err != nil {
		cancel(nil)
		return nil, err
	}
	if resp.StatusCode != http.StatusOK && (part.from == 0 || resp.StatusCode != http.StatusPartialContent) {
		defer cancel(nil)
		defer resp.Body.Close()
		err := transport.CheckError(resp, http.StatusOK)
		if wait, _ := strconv.Atoi(resp.Header.Get("Retry-After")); wait > 0 {
			err = &busyError{err, min(time.Duration(wait)*time.Second, time.Minute)}
		}
		return nil, err
	}
	resp.Body = newWatched(ctx, resp.Body, r.stall, cancel)
	return resp, nil
}

// busyError is an answer that says when to ask again.
type busyError struct {
	error
	after time.Duration
}

func (e *busyError) Unwrap() error { return e.error }

// watched ends a body that delivers nothing for a while.
type watched struct {
	io.ReadCloser
	ctx    context.Context // of the request; only to read its cause
	limit  time.Duration
	timer  *time.Timer
	cancel context.CancelCauseFunc
}

func newWatched(ctx context.Context, body io.ReadCloser, limit time.Duration, cancel context.CancelCauseFunc) *watched {
	w := &watched{ReadCloser: body, ctx: ctx, limit: limit, cancel: cancel}
	w.timer = time.AfterFunc(limit, func() {
		cancel(fmt.Errorf("nothing came for %s: %w", limit, fault.Unavailable))
	})
	return w
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.ReadCloser.Read(p)
	if err != nil && err != io.EOF && w.ctx.Err() != nil {
		err = context.Cause(w.ctx)
	}
	w.timer.Reset(w.limit)
	return n, err
}

func (w *watched) Close() error {
	w.timer.Stop()
	err := w.ReadCloser.Close()
	w.cancel(nil)
	return err
}

// acceptManifests are the forms of manifest that we read.
var acceptManifests = strings.Join([]string{
	ocispec.MediaTypeImageIndex, ocispec.MediaTypeImageManifest, dockerIndex, dockerManifest,
}, ", ")

// manifest asks for a manifest or index by tag or digest and checks that it is
// the one asked for.
func (r *remote) manifest(ctx context.Context, ref string) ([]byte, ocispec.Descriptor, error) {
	var none ocispec.Descriptor
	resp, err := r.get(ctx, "/manifests/"+ref, acceptManifests, span{})
	if err != nil {
		return nil, none, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxJSON+1))
	if err != nil {
		return nil, none, err
	}
	if len(data) > maxJSON {
		return nil, none, fmt.Errorf("the manifest has more than %d bytes: %w", maxJSON, fault.Invalid)
	}
	doc, err := parse(data)
	if err != nil {
		return nil, none, err
	}
	want := digest.Digest(ref)
	if want.Validate() != nil {
		want = digest.Digest(resp.Header.Get("Docker-Content-Digest"))
	}
	if want.Validate() != nil {
		want = digest.FromBytes(data) // old registries do not say it
	}
	if got := want.Algorithm().FromBytes(data); got != want {
		return nil, none, fmt.Errorf("the manifest has digest %s, not %s: %w", got, want, fault.Corrupt)
	}
	return data, ocispec.Descriptor{MediaType: doc.kind(), Digest: want, Size: int64(len(data))}, nil
}
