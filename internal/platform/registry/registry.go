// Package registry serves images by the OCI distribution protocol, v1.1.
//
// It stands on the node's own image store: a layer that was pushed is not
// copied anywhere, and an image that was pushed is present on the node at once,
// under Config.Host and its repository's name.
//
// A repository is what its manifests say: they are names in the image store
// ("web@sha256:…" and "web:3"), so collection keeps what they lead to. Which
// blobs may be read through a repository is kept apart, in links: a blob that
// another repository holds is not there until it was pushed or mounted.
package registry

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"syscall"
	"time"

	"cuelabs.dev/go/oci/ociregistry"
	"cuelabs.dev/go/oci/ociregistry/ociserver"

	"github.com/sampan-cloud/sampan/internal/base/fault"
	"github.com/sampan-cloud/sampan/internal/node/image"
)

// Config holds the settings of a Registry. Root, Host and Listen are required.
type Config struct {
	Root   string      // directory of its own state; the blobs are the image store's
	Host   string      // what image names on this node begin with: registry.local:5000
	Listen string      // address to serve at: 127.0.0.1:5000
	TLS    *tls.Config // with the certificate; nil serves plain HTTP
}

// Registry is the registry of one node.
type Registry struct {
	cfg      Config
	log      *slog.Logger
	access   Access
	blobs    *image.Blobs
	names    *image.Names // of this registry
	engine   *image.Names
	links    links
	subjects subjects
	parked   parked
	protocol http.Handler // the parts of the protocol that ociserver knows
	addr     chan net.Addr
}

// New makes a registry on a node's images. Access decides about every request.
func New(cfg Config, store *image.Store, access Access, log *slog.Logger) (*Registry, error) {
	if cfg.Root == "" || cfg.Host == "" {
		return nil, fmt.Errorf("registry: Root and Host must be set: %w", fault.Invalid)
	}
	r := &Registry{
		cfg: cfg, log: log, access: access,
		blobs: store.Blobs(), names: store.Names(image.RegistryNames), engine: store.Names(image.EngineNames),
		links: links{filepath.Join(cfg.Root, "repositories")},
		addr:  make(chan net.Addr, 1),
	}
	r.protocol = ociserver.New(r.backend(), &ociserver.Options{WriteError: r.fail})
	return r, nil
}

// backend is this registry as ociserver wants it.
func (r *Registry) backend() ociregistry.Interface {
	return &ociregistry.Funcs{
		GetBlob_: r.getBlob, GetBlobRange_: r.getBlobRange, ResolveBlob_: r.resolveBlob,
		PushBlob_: r.pushBlob, PushBlobChunked_: r.startUpload, PushBlobChunkedResume_: r.resumeUpload,
		MountBlob_: r.mountBlob, DeleteBlob_: r.deleteBlob,
		GetManifest_: r.getManifest, GetTag_: r.getTag, ResolveManifest_: r.resolveManifest, ResolveTag_: r.resolveTag,
		DeleteManifest_: r.deleteManifest, DeleteTag_: r.deleteTag,
	}
}

// Run serves until ctx ends; requests under way then have a few seconds.
func (r *Registry) Run(ctx context.Context, ready func()) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", r.cfg.Listen)
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("registry: %s is taken by another program: choose another address: %w", r.cfg.Listen, fault.Precondition)
	}
	if err != nil {
		return fmt.Errorf("registry: %w", err)
	}
	r.addr <- listener.Addr()
	defer r.parked.close()
	if r.cfg.TLS != nil {
		conf := r.cfg.TLS.Clone()
		conf.NextProtos = []string{"h2", "http/1.1"}
		listener = tls.NewListener(listener, conf)
	}
	server := &http.Server{
		Handler:           r,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		ErrorLog:          slog.NewLogLogger(r.log.Handler(), slog.LevelDebug),
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	ready()
	select {
	case err := <-served:
		return fmt.Errorf("registry: serve %s: %w", r.cfg.Listen, err)
	case <-ctx.Done():
	}
	// The caller is gone, those who push are not.
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
	defer cancel()
	if err := server.Shutdown(last); err != nil {
		server.Close() // uploads are kept and can be resumed
	}
	<-served
	return nil
}

// Addr returns where the registry serves, once it does. It is for callers who
// listen at port 0.
func (r *Registry) Addr() net.Addr {
	addr := <-r.addr
	r.addr <- addr
	return addr
}
