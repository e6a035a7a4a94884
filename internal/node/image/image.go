// Package image stores, pulls, pushes and unpacks OCI images.
//
// Blobs are content-addressed: one directory per node holds each once, whoever
// brought it. A name (web:3) leads to a manifest, a manifest to a config and
// layers. Names belong to an owner, the engine or the registry, and a blob is
// kept as long as any owner's name, a pull or a push leads to it.
package image

import (
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Image is an image that is whole on this node, for this node's platform.
type Image struct {
	ID       digest.Digest      // of the config; what docker and the CRI call the image ID
	Manifest ocispec.Descriptor // of this platform's manifest
	Target   ocispec.Descriptor // what the names lead to: the index where there is one, else Manifest
	Names    []string           // full names with tag: registry.local/library/web:3
	Digests  []string           // full names with digest of Target
	Size     int64              // bytes of config and compressed layers
	Config   ocispec.Image
	Layers   []Layer // lowest first
	Created  time.Time
	Pinned   bool // never removed by collection; for images that the program carries
	Origin   bool // a registry is known to have it: it was pulled, or is served by this node's own
}

// Layer is one layer of an image.
type Layer struct {
	ocispec.Descriptor               // of the blob, compressed or not
	DiffID             digest.Digest // of the uncompressed tar
	ChainID            digest.Digest // of this layer on those below it: the snapshot's key
}

// PullOptions say how to pull.
type PullOptions struct {
	Auth     *Auth
	Progress func(Progress) // called often, from many goroutines
}

// Auth is what a registry wants to know of the user. Token is a bearer or
// identity token.
type Auth struct {
	Username, Password string
	Identity, Token    string
}

// Progress is how far one blob of a pull, a push or an unpacking is.
type Progress struct {
	Digest digest.Digest
	Step   string // resolve, download, exists, unpack, done
	Done   int64  // bytes
	Total  int64  // bytes, 0 while unknown
}
