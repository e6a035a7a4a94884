package local

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"

	api "github.com/sampan-cloud/sampan/api/local"
	"github.com/sampan-cloud/sampan/internal/base/fault"
	"github.com/sampan-cloud/sampan/internal/node/image"
)

func (s *Server) listImages(w http.ResponseWriter, r *http.Request) error {
	list, err := s.engine.Images(r.Context())
	if err != nil {
		return err
	}
	out := make([]api.Image, 0, len(list))
	for i := range list {
		out = append(out, showImage(&list[i]))
	}
	answer(w, http.StatusOK, out)
	return nil
}

func showImage(img *image.Image) api.Image {
	return api.Image{
		ID: img.ID.String(), Names: img.Names, Digests: img.Digests, Size: img.Size,
		Created: img.Created, Pinned: img.Pinned,
	}
}

// report sends lines of progress while work does something, and how it ended.
type report struct {
	mu sync.Mutex
	w  http.ResponseWriter
}

func newReport(w http.ResponseWriter) *report {
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.WriteHeader(http.StatusOK)
	flush(w)
	return &report{w: w}
}

func (p *report) line(v api.Progress) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if json.NewEncoder(p.w).Encode(v) != nil {
		return // the client has hung up, and its context ends
	}
	flush(p.w)
}

func (p *report) progress(v image.Progress) {
	p.line(api.Progress{ID: v.Digest.String(), Step: v.Step, Now: v.Done, Total: v.Total})
}

func (p *report) end(img image.Image, err error) {
	if err != nil {
		p.line(api.Progress{Error: &api.Error{Error: err.Error(), Kind: string(fault.Of(err))}})
		return
	}
	done := showImage(&img)
	p.line(api.Progress{Done: &done})
}

// named reads a request that names an image.
func named(r *http.Request) (api.Name, *image.Auth, error) {
	var req api.Name
	if err := read(r, &req); err != nil {
		return req, nil, err
	}
	if req.Name == "" {
		return req, nil, fmt.Errorf("name is missing: %w", fault.Invalid)
	}
	if req.Username == "" && req.Password == "" {
		return req, nil, nil
	}
	return req, &image.Auth{Username: req.Username, Password: req.Password}, nil
}

func (s *Server) pull(w http.ResponseWriter, r *http.Request) error {
	req, auth, err := named(r)
	if err != nil {
		return err
	}
	p := newReport(w)
	p.end(s.engine.PullImage(r.Context(), req.Name, image.PullOptions{Auth: auth, Progress: p.progress}))
	return nil
}

func (s *Server) push(w http.ResponseWriter, r *http.Request) error {
	req, auth, err := named(r)
	if err != nil {
		return err
	}
	p := newReport(w)
	_, err = s.images.Push(r.Context(), req.Name, image.PushOptions{Auth: auth, Progress: p.progress})
	if err != nil {
		p.end(image.Image{}, err)
		return nil
	}
	p.end(s.engine.Image(r.Context(), req.Name))
	return nil
}

// load brings in an archive's images and unpacks them. The last one is told.
func (s *Server) load(w http.ResponseWriter, r *http.Request) error {
	// The answer begins before the archive has come whole; without this the server
	// would throw away what has. A connection on which some of it was left unread
	// cannot carry another request: net/http would read it from two sides at once.
	if err := http.NewResponseController(w).EnableFullDuplex(); err != nil {
		return err
	}
	w.Header().Set("Connection", "close")
	p := newReport(w)
	loaded, err := s.images.Load(r.Context(), r.Body, image.LoadOptions{Progress: p.progress})
	var last image.Image
	for _, img := range loaded {
		if err == nil {
			if err = s.engine.PrepareImage(r.Context(), img); err != nil {
				err = fmt.Errorf("load %s: %w", cmp.Or(strings.Join(img.Names, ", "), img.ID.String()), err)
			}
		}
		last = img
	}
	if err == nil && len(loaded) == 0 {
		err = fmt.Errorf("the archive has no image: %w", fault.Invalid)
	}
	p.end(last, err)
	return nil
}

func (s *Server) save(w http.ResponseWriter, r *http.Request) error {
	names := r.URL.Query()["name"]
	if len(names) == 0 {
		return fmt.Errorf("name is missing: %w", fault.Invalid)
	}
	for _, n := range names {
		if _, err := s.engine.Image(r.Context(), n); err != nil {
			return err
		}
	}
	w.Header().Set("Content-Type", "application/x-tar")
	if err := s.images.Save(r.Context(), w, names...); err != nil {
		// Half of the archive may have been sent: break the connection, so that
		// the client does not take it for a whole one.
		s.log.Warn("image not saved", "image", names, "err", err)
		panic(http.ErrAbortHandler)
	}
	return nil
}

func (s *Server) tag(w http.ResponseWriter, r *http.Request) error {
	var req api.Tag
	if err := read(r, &req); err != nil {
		return err
	}
	if err := s.images.Tag(r.Context(), req.Source, req.Target); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *Server) buildDeb(w http.ResponseWriter, r *http.Request) error {
	if s.cfg.BuildDeb == nil {
		return fmt.Errorf("this node builds no images: %w", fault.Unsupported)
	}
	var req api.BuildDeb
	if err := read(r, &req); err != nil {
		return err
	}
	p := newReport(w)
	img, err := s.cfg.BuildDeb(r.Context(), req, p.line)
	if err == nil {
		err = s.engine.PrepareImage(r.Context(), img)
	}
	p.end(img, err)
	return nil
}

// removeImage takes a name away. Unlike the CRI's, it complains of one that is
// not there: a person has mistyped it.
func (s *Server) removeImage(w http.ResponseWriter, r *http.Request) error {
	name := r.URL.Query().Get("name")
	if name == "" {
		return fmt.Errorf("name is missing: %w", fault.Invalid)
	}
	if _, err := s.engine.Image(r.Context(), name); err != nil {
		return err
	}
	if err := s.engine.RemoveImage(r.Context(), name); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// prune deletes images that no container uses, then what they leave.
func (s *Server) prune(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	if err := s.engine.PruneImages(ctx); err != nil {
		return err
	}
	layers, err := s.engine.Collect(ctx)
	if err != nil {
		return err
	}
	blobs, err := s.images.GC(ctx)
	if err != nil {
		return err
	}
	answer(w, http.StatusOK, api.Pruned{Freed: layers + blobs})
	return nil
}
