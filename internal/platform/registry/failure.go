package registry

import (
	"context"
	"errors"
	"net/http"

	"cuelabs.dev/go/oci/ociregistry"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// fail answers with an error in the protocol's form. An error that the protocol
// has no code for gets the status of its kind.
func (r *Registry) fail(w http.ResponseWriter, req *http.Request, err error) {
	if told := callOf(req.Context()).failure; told != nil {
		err = told
	}
	var coded ociregistry.Error
	var status ociregistry.HTTPError
	if !errors.As(err, &coded) && !errors.As(err, &status) {
		err = encode(err)
	}
	if fault.Of(err) == fault.Unauthorized {
		w.Header().Set("Www-Authenticate", `Basic realm="sampan", charset="UTF-8"`)
	}
	if _, code := ociregistry.MarshalError(err); code >= 500 && req.Context().Err() == nil {
		r.log.Warn("registry request failed", "method", req.Method, "path", req.URL.Path, "err", err)
	}
	if err := ociregistry.WriteError(w, err); err != nil && !errors.Is(err, context.Canceled) {
		r.log.Debug("cannot answer", "err", err)
	}
}

// encode gives an error of ours the protocol's code.
func encode(err error) error {
	switch kind := fault.Of(err); kind {
	case fault.Unauthorized:
		return coded{err, ociregistry.ErrUnauthorized}
	case fault.Forbidden:
		return coded{err, ociregistry.ErrDenied}
	case fault.Corrupt:
		return coded{err, ociregistry.ErrDigestInvalid}
	case fault.Unsupported:
		return coded{err, ociregistry.ErrUnsupported}
	default:
		return ociregistry.NewHTTPError(err, kind.HTTP(), nil, nil)
	}
}

// coded is an error with the protocol's code of another.
type coded struct {
	error
	like ociregistry.Error
}

func (c coded) Unwrap() []error { return []error{c.error, c.like} }
