package catalog

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"reflect"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	api "github.com/sampan-cloud/sampan/api/catalog"
	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// Registry is what a front end needs of a Store.
type Registry interface {
	Register(ctx context.Context, ref Ref, inst api.Instance) (out api.Instance, created bool, err error)
	Beat(ctx context.Context, ref Ref, b api.Heartbeat) error
	Deregister(ctx context.Context, ref Ref) error
	Remove(ctx context.Context, ref Ref) error
	Instance(ref Ref) (api.Instance, error)
	Service(ref Ref) (api.Service, error)
	Services(namespace string) []api.Service
	Watch(namespace string) *Watch
}

// handler is the HTTP API of package api/catalog.
type handler struct {
	registry Registry
	log      *slog.Logger
}

// NewHandler serves the HTTP API of package api/catalog. It asks nobody who they
// are: it stands behind a server that does.
func NewHandler(r Registry, log *slog.Logger) http.Handler {
	h := &handler{registry: r, log: log}
	mux := http.NewServeMux()
	const one = api.Root + "/namespaces/{namespace}/services/{service}"
	for pattern, serve := range map[string]func(http.ResponseWriter, *http.Request) error{
		"GET " + api.Root + "/services":                        h.list,
		"GET " + api.Root + "/namespaces/{namespace}/services": h.list,
		"GET " + one:                        h.service,
		"DELETE " + one:                     h.remove,
		"GET " + one + "/instances":         h.instances,
		"GET " + one + "/instances/{id}":    h.instance,
		"PUT " + one + "/instances/{id}":    h.register,
		"DELETE " + one + "/instances/{id}": h.deregister,
		"PUT " + one + "/heartbeats/{id}":   h.heartbeat,
		"/": func(_ http.ResponseWriter, r *http.Request) error {
			return fmt.Errorf("%s %s: %w", r.Method, r.URL.Path, fault.NotFound)
		},
	} {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			if err := serve(w, r); err != nil {
				h.fail(w, r, err)
			}
		})
	}
	return mux
}

func refOf(r *http.Request) Ref {
	return Ref{r.PathValue("namespace"), r.PathValue("service"), r.PathValue("id")}
}

func (h *handler) list(w http.ResponseWriter, r *http.Request) error {
	switch r.URL.Query().Get("watch") {
	case "", "0", "false":
		return answer(w, http.StatusOK, api.Services{Items: h.registry.Services(r.PathValue("namespace"))})
	}
	return h.watch(w, r)
}

func (h *handler) service(w http.ResponseWriter, r *http.Request) error {
	s, err := h.registry.Service(refOf(r))
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, s)
}

func (h *handler) instances(w http.ResponseWriter, r *http.Request) error {
	s, err := h.registry.Service(refOf(r))
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, api.Instances{Items: s.Instances})
}

func (h *handler) instance(w http.ResponseWriter, r *http.Request) error {
	inst, err := h.registry.Instance(refOf(r))
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, inst)
}

func (h *handler) register(w http.ResponseWriter, r *http.Request) error {
	var inst api.Instance
	if err := decode(r, &inst); err != nil {
		return err
	}
	out, created, err := h.registry.Register(r.Context(), refOf(r), inst)
	if err != nil {
		return err
	}
	if created {
		return answer(w, http.StatusCreated, out)
	}
	return answer(w, http.StatusOK, out)
}

func (h *handler) heartbeat(w http.ResponseWriter, r *http.Request) error {
	var b api.Heartbeat
	if err := decode(r, &b); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if err := h.registry.Beat(r.Context(), refOf(r), b); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (h *handler) deregister(w http.ResponseWriter, r *http.Request) error {
	if err := h.registry.Deregister(r.Context(), refOf(r)); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (h *handler) remove(w http.ResponseWriter, r *http.Request) error {
	if err := h.registry.Remove(r.Context(), refOf(r)); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// maxBody is more than any instance that is taken.
const maxBody = 64 << 10

// decode reads the body. A field that does not exist is refused: somebody thinks
// that it means something.
func decode(r *http.Request, v any) error {
	data, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	if err != nil {
		return fmt.Errorf("read the request: %w: %w", err, fault.Invalid)
	}
	if len(data) > maxBody {
		return fmt.Errorf("the request has more than %d bytes: %w", maxBody, fault.Invalid)
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	err = d.Decode(v)
	var kind *json.UnmarshalTypeError
	switch field, unknown := strings.CutPrefix(fmt.Sprint(err), "json: unknown field "); {
	case err == nil && d.More():
		return fmt.Errorf("the request has more than one JSON value: %w", fault.Invalid)
	case err == nil:
		return nil
	case errors.Is(err, io.EOF):
		return fmt.Errorf("the request is empty, an object as JSON is wanted: %w: %w", err, fault.Invalid)
	case unknown:
		return &inputError{strings.Trim(field, `"`), "there is no such field", fault.Invalid}
	case errors.As(err, &kind) && kind.Type == reflect.TypeFor[api.Duration]():
		return &inputError{kind.Field, kind.Value + ` is not a duration such as "10s"`, fault.Invalid}
	case errors.As(err, &kind):
		return &inputError{kind.Field, fmt.Sprintf("%s is not what belongs here: %s", kind.Value, kind.Type), fault.Invalid}
	}
	return fmt.Errorf("the request is not JSON: %w: %w", err, fault.Invalid)
}

func answer(w http.ResponseWriter, code int, v any) error {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(v) // whoever asked may have gone
	return nil
}

// fail answers as the Kubernetes API does, so that its clients can read it.
func (h *handler) fail(w http.ResponseWriter, r *http.Request, err error) {
	code := fault.Of(err).HTTP()
	if code >= http.StatusInternalServerError {
		h.log.Warn("catalog request failed", "method", r.Method, "path", r.URL.Path, "err", err)
	}
	fail(w, code, strings.ReplaceAll(err.Error(), "\n", "; "), causes(err))
}

func fail(w http.ResponseWriter, code int, message string, causes []metav1.StatusCause) {
	reasons := map[int]metav1.StatusReason{
		http.StatusBadRequest: metav1.StatusReasonBadRequest, http.StatusNotFound: metav1.StatusReasonNotFound,
		http.StatusConflict: metav1.StatusReasonConflict, http.StatusServiceUnavailable: metav1.StatusReasonServiceUnavailable,
	}
	s := metav1.Status{
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusFailure,
		Message: message, Reason: reasons[code], Code: int32(code),
	}
	if len(causes) > 0 {
		s.Details = &metav1.StatusDetails{Group: api.Group, Causes: causes}
	}
	_ = answer(w, code, s)
}

// causes are the fields that something is wrong with.
func causes(err error) []metav1.StatusCause {
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		var out []metav1.StatusCause
		for _, e := range many.Unwrap() {
			out = append(out, causes(e)...)
		}
		return out
	}
	var in *inputError
	if !errors.As(err, &in) {
		return nil
	}
	kind := metav1.CauseTypeFieldValueInvalid
	if in.kind == fault.Exists {
		kind = metav1.CauseTypeFieldValueDuplicate
	}
	return []metav1.StatusCause{{Type: kind, Field: in.field, Message: in.message}}
}

// watch sends every service that is there, and then each change, until the
// client goes or the catalog stops.
func (h *handler) watch(w http.ResponseWriter, r *http.Request) error {
	namespace := r.PathValue("namespace")
	changes := h.registry.Watch(namespace)
	defer changes.Close()
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	lines, flush := json.NewEncoder(w), http.NewResponseController(w)
	known := map[Ref]bool{}
	send := func(kind string, s api.Service) error { return lines.Encode(api.Event{Type: kind, Object: s}) }
	for _, s := range h.registry.Services(namespace) {
		known[Ref{s.Namespace, s.Name, ""}] = true
		if send("ADDED", s) != nil {
			return nil // the client is gone
		}
	}
	for {
		if flush.Flush() != nil {
			return nil
		}
		select {
		case <-r.Context().Done():
			return nil
		case <-changes.Ended():
			return nil
		case <-changes.Changed:
		}
		for _, ref := range changes.Take() {
			s, err := h.registry.Service(ref)
			kind := "MODIFIED"
			switch {
			case err != nil && !known[ref]:
				continue
			case err != nil:
				kind, s = "DELETED", api.Service{Namespace: ref.Namespace, Name: ref.Service, Ports: []api.Port{}, Instances: []api.Instance{}}
				delete(known, ref)
			case !known[ref]:
				kind = "ADDED"
				known[ref] = true
			}
			if send(kind, s) != nil {
				return nil
			}
		}
	}
}
