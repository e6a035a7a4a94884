package registry

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"

	"cuelabs.dev/go/oci/ociregistry"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// maxPage is how many names one answer has at most; a Link leads to more.
const maxPage = 1000

// repositories lists those that have a manifest.
func (r *Registry) repositories() []string {
	repos := []string{}
	for _, n := range r.names.List("") {
		repo, _, _ := strings.Cut(n.Name, "@")
		if i := strings.LastIndexByte(repo, ':'); i >= 0 {
			repo = repo[:i]
		}
		repos = append(repos, repo)
	}
	slices.Sort(repos)
	return slices.Compact(repos)
}

// listRepositories answers the catalog.
func (r *Registry) listRepositories(w http.ResponseWriter, req *http.Request) {
	page, err := paginate(w, req, r.repositories())
	if err != nil {
		r.fail(w, req, err)
		return
	}
	r.answer(w, "application/json", map[string]any{"repositories": page})
}

// listTags answers with the tags of a repository.
func (r *Registry) listTags(w http.ResponseWriter, req *http.Request, t target) {
	if t.ref != "list" {
		r.protocol.ServeHTTP(w, req)
		return
	}
	tags := []string{}
	for _, n := range r.names.List(t.repo + ":") {
		tags = append(tags, strings.TrimPrefix(n.Name, t.repo+":"))
	}
	if len(tags) == 0 && len(r.names.List(t.repo+"@")) == 0 {
		r.fail(w, req, ociregistry.ErrNameUnknown)
		return
	}
	page, err := paginate(w, req, tags)
	if err != nil {
		r.fail(w, req, err)
		return
	}
	r.answer(w, "application/json", map[string]any{"name": t.repo, "tags": page})
}

// paginate returns the part of a sorted list that a request asks for, and sets
// the Link to the next.
func paginate(w http.ResponseWriter, req *http.Request, all []string) ([]string, error) {
	query := req.URL.Query()
	n := maxPage
	if asked := query.Get("n"); asked != "" {
		var err error
		if n, err = strconv.Atoi(asked); err != nil || n < 0 {
			err = fmt.Errorf("n=%s is not a number of names", asked)
			return nil, ociregistry.NewHTTPError(err, http.StatusBadRequest, nil, nil)
		}
		n = min(n, maxPage)
	}
	if last := query.Get("last"); last != "" {
		at, found := slices.BinarySearch(all, last)
		if found {
			at++
		}
		all = all[at:]
	}
	if len(all) <= n {
		return all, nil
	}
	all = all[:n]
	if n > 0 {
		query.Set("last", all[n-1])
		query.Set("n", strconv.Itoa(n))
		w.Header().Set("Link", fmt.Sprintf(`<%s?%s>; rel="next"`, req.URL.EscapedPath(), query.Encode()))
	}
	return all, nil
}

// subjects remembers what manifests refer to. A digest's content never changes,
// so neither does this.
type subjects struct {
	known sync.Map // digest.Digest of a manifest to document
}

// listReferrers answers with the manifests that have t's digest as their
// subject: signatures, provenance and the like.
func (r *Registry) listReferrers(w http.ResponseWriter, req *http.Request, t target) {
	subject := digest.Digest(t.ref)
	if err := subject.Validate(); err != nil {
		r.fail(w, req, ociregistry.ErrDigestInvalid)
		return
	}
	wanted := req.URL.Query().Get("artifactType")
	index := ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: ocispec.MediaTypeImageIndex,
		Manifests: []ocispec.Descriptor{},
	}
	for _, n := range r.names.List(t.repo + "@") {
		doc, err := r.document(n.Target)
		if err != nil {
			r.fail(w, req, err)
			return
		}
		if doc.Subject == nil || doc.Subject.Digest != subject {
			continue
		}
		desc := n.Target
		desc.Annotations = doc.Annotations
		desc.ArtifactType = doc.ArtifactType
		if desc.ArtifactType == "" && doc.Config != nil {
			desc.ArtifactType = doc.Config.MediaType
		}
		if wanted == "" || wanted == desc.ArtifactType {
			index.Manifests = append(index.Manifests, desc)
		}
	}
	if wanted != "" {
		w.Header().Set("OCI-Filters-Applied", "artifactType")
	}
	r.answer(w, ocispec.MediaTypeImageIndex, index)
}

// document reads a manifest that is in the registry.
func (r *Registry) document(desc ocispec.Descriptor) (doc document, err error) {
	if known, ok := r.subjects.known.Load(desc.Digest); ok {
		return known.(document), nil
	}
	c, err := r.open(desc)
	if err != nil {
		return doc, err
	}
	defer c.Close()
	data, err := io.ReadAll(io.LimitReader(c, maxManifest))
	if err != nil {
		return doc, fmt.Errorf("manifest %s: %w", desc.Digest, err)
	}
	if err := json.Unmarshal(data, &doc); err != nil {
		return doc, fmt.Errorf("manifest %s: %w", desc.Digest, err)
	}
	doc.Layers, doc.Manifests = nil, nil // only what referrers need
	r.subjects.known.Store(desc.Digest, doc)
	return doc, nil
}

func (r *Registry) answer(w http.ResponseWriter, mediaType string, body any) {
	w.Header().Set("Content-Type", mediaType)
	if err := json.NewEncoder(w).Encode(body); err != nil {
		r.log.Debug("cannot answer", "err", err)
	}
}
