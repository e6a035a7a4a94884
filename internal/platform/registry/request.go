package registry

import (
	"context"
	"net/http"
	"regexp"
	"strconv"
	"strings"

	"cuelabs.dev/go/oci/ociregistry/ociref"
	"github.com/opencontainers/go-digest"
)

// call is what the backend needs to know of the request that it works for, and
// what it tells about it.
type call struct {
	from    *int64 // first byte of the chunk, where the client said so
	failure error  // of a write in the backend; ociserver keeps only its text
}

type callKey struct{}

// callOf returns the call of a request's context.
func callOf(ctx context.Context) *call {
	if c, ok := ctx.Value(callKey{}).(*call); ok {
		return c
	}
	return &call{}
}

// target is what the path of a request names.
type target struct {
	repo, kind, ref string // kind is manifests, blobs, uploads, tags, referrers or catalog
}

var paths = regexp.MustCompile(`^/v2/(.+)/(?:(manifests|referrers|tags)/([^/]+)|blobs/(uploads)/?([^/]*)|(blobs)/([^/]+))$`)

func parsePath(path string) (target, bool) {
	if path == "/v2/_catalog" {
		return target{kind: "catalog"}, true
	}
	m := paths.FindStringSubmatch(path)
	if m == nil {
		return target{}, false
	}
	t := target{repo: m[1], kind: m[2] + m[4] + m[6], ref: m[3] + m[5] + m[7]}
	return t, ociref.IsValidRepository(t.repo)
}

// ServeHTTP answers one request of the protocol.
func (r *Registry) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
	c := &call{}
	if start, _, ok := strings.Cut(strings.TrimPrefix(req.Header.Get("Content-Range"), "bytes "), "-"); ok {
		if n, err := strconv.ParseInt(start, 10, 64); err == nil {
			c.from = &n
		}
	}
	req = req.WithContext(context.WithValue(req.Context(), callKey{}, c))
	t, known := parsePath(req.URL.Path)
	if err := r.allow(req, t); err != nil {
		r.fail(w, req, err)
		return
	}
	handle := r.protocol.ServeHTTP
	if known {
		switch t.kind + " " + req.Method {
		case "catalog GET":
			handle = r.listRepositories
		case "tags GET":
			handle = func(w http.ResponseWriter, req *http.Request) { r.listTags(w, req, t) }
		case "referrers GET":
			handle = func(w http.ResponseWriter, req *http.Request) { r.listReferrers(w, req, t) }
		case "manifests PUT":
			handle = func(w http.ResponseWriter, req *http.Request) { r.putManifest(w, req, t) }
		case "uploads DELETE":
			handle = func(w http.ResponseWriter, req *http.Request) { r.cancelUpload(w, req, t) }
		case "uploads POST":
			r.mountOrUpload(req)
		case "blobs GET":
			r.fromTheEnd(req, t)
		}
	}
	handle(w, req)
}

// mountOrUpload makes an upload of a request to mount what cannot be mounted:
// the protocol wants the client to be offered one, not an error. A client that
// does not say from where gets it from any repository that it may read.
func (r *Registry) mountOrUpload(req *http.Request) {
	query := req.URL.Query()
	d := digest.Digest(query.Get("mount"))
	if d == "" {
		return
	}
	from := []string{query.Get("from")}
	if from[0] == "" {
		from = r.links.holders(d)
	}
	query.Del("mount")
	query.Del("from")
	for _, repo := range from {
		if d.Validate() != nil || !r.links.has(repo, d) || r.check(req, Pull, repo) != nil {
			continue
		}
		if _, err := r.blobs.Stat(d); err == nil {
			query.Set("mount", d.String())
			query.Set("from", repo)
			break
		}
	}
	req.URL.RawQuery = query.Encode()
}

// fromTheEnd rewrites a range of the last so many bytes, which ociserver does
// not know.
func (r *Registry) fromTheEnd(req *http.Request, t target) {
	last, ok := strings.CutPrefix(req.Header.Get("Range"), "bytes=-")
	n, err := strconv.ParseInt(last, 10, 64)
	if !ok || err != nil || n <= 0 {
		return
	}
	if size, err := r.blobs.Stat(digest.Digest(t.ref)); err == nil {
		req.Header.Set("Range", "bytes="+strconv.FormatInt(max(size-n, 0), 10)+"-")
	}
}
