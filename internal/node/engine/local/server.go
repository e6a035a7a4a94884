package local

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	api "github.com/sampan-cloud/sampan/api/local"
	"github.com/sampan-cloud/sampan/internal/base/fault"
	"github.com/sampan-cloud/sampan/internal/node/engine"
	"github.com/sampan-cloud/sampan/internal/node/image"
)

// Images is what people do with images beyond what the engine needs.
type Images interface {
	Tag(ctx context.Context, ref, name string) error
	Push(ctx context.Context, ref string, opt image.PushOptions) (ocispec.Descriptor, error)
	Load(ctx context.Context, archive io.Reader, opt image.LoadOptions) ([]image.Image, error)
	Save(ctx context.Context, archive io.Writer, refs ...string) error
	// GC deletes blobs that nothing leads to.
	GC(ctx context.Context) (freed int64, err error)
}

// BuildDeb builds an image of Debian packages.
type BuildDeb func(ctx context.Context, req api.BuildDeb, progress func(api.Progress)) (image.Image, error)

// Config holds the settings of a Server.
type Config struct {
	LogDir   string   // where one-offs' output is kept
	BuildDeb BuildDeb // nil where images cannot be built
}

// Server answers the local socket's calls under /v1/containers, /v1/run and
// /v1/images.
type Server struct {
	cfg    Config
	engine *engine.Engine
	images Images
	log    *slog.Logger
	mux    *http.ServeMux

	// Upgraded connections and removals outlive their calls, so they end with
	// the server, not with the call's context.
	base context.Context
	end  context.CancelFunc
	work sync.WaitGroup // calls, and what they leave to be done

	mu     sync.Mutex
	closed bool
}

// New returns a server. Run or Close must end it before the engine ends.
func New(cfg Config, e *engine.Engine, images Images, log *slog.Logger) *Server {
	s := &Server{cfg: cfg, engine: e, images: images, log: log, mux: http.NewServeMux()}
	s.base, s.end = context.WithCancel(context.Background())
	for pattern, h := range map[string]func(http.ResponseWriter, *http.Request) error{
		"GET /v1/containers":            s.listContainers,
		"POST /v1/run":                  s.run,
		"POST /v1/containers/{id}/exec": s.exec,
		"POST /v1/containers/{id}/stop": s.stop,
		"DELETE /v1/containers/{id}":    s.removeContainer,
		"GET /v1/containers/{id}/logs":  s.logs,
		"GET /v1/images":                s.listImages,
		"POST /v1/images/pull":          s.pull,
		"POST /v1/images/push":          s.push,
		"POST /v1/images/load":          s.load,
		"GET /v1/images/save":           s.save,
		"POST /v1/images/tag":           s.tag,
		"POST /v1/images/build-deb":     s.buildDeb,
		"DELETE /v1/images":             s.removeImage,
		"POST /v1/images/prune":         s.prune,
	} {
		s.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			if err := h(w, r); err != nil {
				s.fail(w, r, err)
			}
		})
	}
	return s
}

// ServeHTTP answers one call.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		s.fail(w, r, fmt.Errorf("the daemon is stopping: %w", fault.Unavailable))
		return
	}
	s.work.Add(1)
	s.mu.Unlock()
	defer s.work.Done()
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(s.base, cancel)()
	s.mux.ServeHTTP(w, r.WithContext(ctx))
}

// Run closes the server when ctx ends. As a part that starts after the engine it
// ends the calls while the engine can still finish them.
func (s *Server) Run(ctx context.Context, ready func()) error {
	ready()
	<-ctx.Done()
	s.Close()
	return nil
}

// Close hangs up on clients and waits for the calls under way. Containers go on;
// one that is to be removed when it has ended is the next engine's to remove.
func (s *Server) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.end()
	s.work.Wait()
}

// fail answers with err, if nothing has been answered yet, and logs it once.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	kind := fault.Of(err)
	if kind == fault.Internal {
		s.log.Error("local call failed", "call", r.Method+" "+r.URL.Path, "err", err)
	}
	answer(w, kind.HTTP(), api.Error{Error: err.Error(), Kind: string(kind)})
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	// A client that has hung up wants no answer.
	_ = json.NewEncoder(w).Encode(v)
}

// maxRequest bounds a request's JSON.
const maxRequest = 1 << 20

// read decodes a request. Unknown fields are mistakes of whoever wrote them.
func read(r *http.Request, v any) error {
	d := json.NewDecoder(http.MaxBytesReader(nil, r.Body, maxRequest))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("request: %w: %w", fault.Invalid, err)
	}
	return nil
}
