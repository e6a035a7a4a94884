package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"

	"cuelabs.dev/go/oci/ociregistry"
	"cuelabs.dev/go/oci/ociregistry/ociref"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// maxManifest is what the protocol asks registries to take at least, and what
// all take at most.
const maxManifest = 4 << 20

// Docker's media types, which mean the same as OCI's.
const (
	dockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	dockerIndex    = "application/vnd.docker.distribution.manifest.list.v2+json"
	dockerConfig   = "application/vnd.docker.container.image.v1+json"
)

// document is a manifest or an index.
type document struct {
	MediaType    string               `json:"mediaType"`
	ArtifactType string               `json:"artifactType"`
	Config       *ocispec.Descriptor  `json:"config"`
	Layers       []ocispec.Descriptor `json:"layers"`
	Manifests    []ocispec.Descriptor `json:"manifests"`
	Subject      *ocispec.Descriptor  `json:"subject"`
	Annotations  map[string]string    `json:"annotations"`
}

// byDigest and byTag are what the image store calls a repository's manifests.
func byDigest(repo string, d digest.Digest) string { return repo + "@" + d.String() }
func byTag(repo, tag string) string                { return repo + ":" + tag }

// putManifest answers PUT of a manifest, under a tag or under its digest with
// any number of tags. Not ociserver: it knows no digests but SHA-256.
func (r *Registry) putManifest(w http.ResponseWriter, req *http.Request, t target) {
	tags := req.URL.Query()["tag"]
	if !strings.Contains(t.ref, ":") {
		tags = append(tags, t.ref)
	}
	desc, doc, err := r.storeManifest(w, req, t, tags)
	if err != nil {
		r.fail(w, req, err)
		return
	}
	for _, tag := range req.URL.Query()["tag"] {
		w.Header().Add("OCI-Tag", tag)
	}
	w.Header().Set("Location", "/v2/"+t.repo+"/manifests/"+desc.Digest.String())
	w.Header().Set("Docker-Content-Digest", desc.Digest.String())
	if doc.Subject != nil {
		w.Header().Set("OCI-Subject", doc.Subject.Digest.String())
	}
	w.WriteHeader(http.StatusCreated)
}

func (r *Registry) storeManifest(w http.ResponseWriter, req *http.Request, t target, tags []string) (desc ocispec.Descriptor, doc document, err error) {
	data, err := io.ReadAll(http.MaxBytesReader(w, req.Body, maxManifest))
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		err = fmt.Errorf("a manifest has at most %d bytes", maxManifest)
		return desc, doc, ociregistry.NewHTTPError(err, http.StatusRequestEntityTooLarge, nil, nil)
	}
	if err != nil {
		return desc, doc, fmt.Errorf("read manifest: %w: %w", err, fault.Invalid)
	}
	desc = ocispec.Descriptor{Digest: digest.FromBytes(data), Size: int64(len(data))}
	if d := digest.Digest(t.ref); strings.Contains(t.ref, ":") {
		if err := d.Validate(); err != nil || d.Algorithm().FromBytes(data) != d {
			return desc, doc, ociregistry.ErrDigestInvalid
		}
		desc.Digest = d
	}
	for _, tag := range tags {
		if !ociref.IsValidTag(tag) {
			return desc, doc, invalid("%q is no tag", tag)
		}
	}
	if doc, err = r.parse(data, req.Header.Get("Content-Type"), t.repo); err != nil {
		return desc, doc, err
	}
	desc.MediaType = doc.MediaType
	if err := r.links.sync(t.repo); err != nil {
		return desc, doc, err
	}
	if err := r.keep(data, desc.Digest); err != nil {
		return desc, doc, err
	}
	return desc, doc, r.name(t.repo, tags, desc, doc)
}

func invalid(format string, args ...any) error {
	return ociregistry.NewError(fmt.Sprintf(format, args...), ociregistry.ErrManifestInvalid.Code(), nil)
}

// parse reads a manifest, and checks that it is what the client says and that
// the repository has the blobs that it leads to. Manifests that an index leads
// to may be missing: nobody has to copy the platforms that they do not want.
func (r *Registry) parse(data []byte, contentType, repo string) (doc document, err error) {
	if err := json.Unmarshal(data, &doc); err != nil {
		return doc, invalid("the manifest is not JSON: %v", err)
	}
	said, _, err := mime.ParseMediaType(contentType)
	switch {
	case contentType == "":
	case err != nil:
		return doc, invalid("Content-Type %q: %v", contentType, err)
	case doc.MediaType == "":
		doc.MediaType = said
	case doc.MediaType != said:
		return doc, invalid("the manifest is a %s, the request says %s", doc.MediaType, said)
	}
	var blobs []ocispec.Descriptor
	switch doc.MediaType {
	case ocispec.MediaTypeImageManifest, dockerManifest:
		if doc.Config == nil {
			return doc, invalid("the manifest has no config")
		}
		blobs = append(doc.Layers, *doc.Config)
	case ocispec.MediaTypeImageIndex, dockerIndex:
	default:
		return doc, invalid("manifests of type %q are not known here", doc.MediaType)
	}
	for _, b := range blobs {
		if strings.Contains(b.MediaType, "foreign") || strings.Contains(b.MediaType, "nondistributable") {
			continue
		}
		if _, err := r.blobs.Stat(b.Digest); err != nil || !r.links.has(repo, b.Digest) {
			return doc, ociregistry.NewError(fmt.Sprintf("repository %s has no blob %s", repo, b.Digest), ociregistry.ErrManifestBlobUnknown.Code(), nil)
		}
	}
	return doc, nil
}

// keep stores a manifest's bytes.
func (r *Registry) keep(data []byte, d digest.Digest) error {
	w, err := r.blobs.Create()
	if err != nil {
		return err
	}
	if _, err := w.Write(data); err != nil {
		return errors.Join(err, w.Cancel())
	}
	return w.Commit(d)
}

// name enters a manifest into its repository, and an image among the engine's.
func (r *Registry) name(repo string, tags []string, desc ocispec.Descriptor, doc document) error {
	names := []string{byDigest(repo, desc.Digest)}
	for _, tag := range tags {
		names = append(names, byTag(repo, tag))
	}
	for _, name := range names {
		if err := r.names.Set(name, desc); err != nil {
			return err
		}
	}
	if !doc.isImage() {
		return nil
	}
	if len(names) > 1 {
		names = names[1:]
	}
	for _, name := range names {
		local := r.cfg.Host + "/" + name
		if err := r.engine.Set(local, desc); err != nil {
			// It is in the registry, which is what was asked; it can still be pulled.
			r.log.Warn("a pushed image is not present on the node", "image", local, "err", err)
		}
	}
	return nil
}

// isImage tells images from charts, signatures and whatever else is kept in
// registries.
func (doc document) isImage() bool {
	if doc.Config == nil {
		return doc.ArtifactType == "" && len(doc.Manifests) > 0
	}
	return doc.Config.MediaType == ocispec.MediaTypeImageConfig || doc.Config.MediaType == dockerConfig
}

func (r *Registry) resolve(name string) (ocispec.Descriptor, error) {
	desc, err := r.names.Get(name)
	return desc, unknown(err, ociregistry.ErrManifestUnknown)
}

func (r *Registry) resolveManifest(_ context.Context, repo string, d ociregistry.Digest) (ociregistry.Descriptor, error) {
	return r.resolve(byDigest(repo, d))
}

func (r *Registry) resolveTag(_ context.Context, repo, tag string) (ociregistry.Descriptor, error) {
	return r.resolve(byTag(repo, tag))
}

func (r *Registry) getManifest(_ context.Context, repo string, d ociregistry.Digest) (ociregistry.BlobReader, error) {
	return r.get(byDigest(repo, d))
}

func (r *Registry) getTag(_ context.Context, repo, tag string) (ociregistry.BlobReader, error) {
	return r.get(byTag(repo, tag))
}

func (r *Registry) get(name string) (ociregistry.BlobReader, error) {
	desc, err := r.resolve(name)
	if err != nil {
		return nil, err
	}
	c, err := r.open(desc)
	if err != nil {
		return nil, err
	}
	return c, nil
}

// deleteManifest takes a manifest and all its tags out of a repository. What the
// engine has stays until nothing uses it there.
func (r *Registry) deleteManifest(_ context.Context, repo string, d ociregistry.Digest) error {
	gone := []string{byDigest(repo, d)}
	if _, err := r.resolve(gone[0]); err != nil {
		return err
	}
	for _, n := range r.names.List(repo + ":") {
		if n.Target.Digest == d {
			gone = append(gone, n.Name)
		}
	}
	r.subjects.known.Delete(d)
	return r.names.Delete(gone...)
}

func (r *Registry) deleteTag(_ context.Context, repo, tag string) error {
	if _, err := r.resolve(byTag(repo, tag)); err != nil {
		return err
	}
	return r.names.Delete(byTag(repo, tag))
}
