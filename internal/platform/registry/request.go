package registry

import (
	"context"
	"net/http"
	"regexp"
	"strconv"
	"strings"

	"cuelabs.dev/go/oci/ociregistry"
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
		}
	}
	handle(w, req)
}

// mountOrUpload makes an upload of a request to mount what cannot be mounted:
// the protocol wants the client to be offered one, not an error.
func (r *Registry) mountOrUpload(req *http.Request) {
	query := req.URL.Query()
	from, d := query.Get("from"), query.Get("mount")
	if d == "" {
		return
	}
	if from != "" && r.check(req, Pull, from) == nil && digest.Digest(d).Validate() == nil {
		if _, err := r.resolveBlob(req.Context(), from, ociregistry.Digest(d)); err == nil {
			return
		}
	}
	query.Del("mount")
	query.Del("from")
	req.URL.RawQuery = query.Encode()
}
