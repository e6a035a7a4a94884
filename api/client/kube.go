// Package client talks to a cloud: to its Kubernetes API over HTTPS, and to the
// engine of this node over its local socket. It is light on purpose, for the
// command line: no generated clients, only the few fields that are shown.
package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// ErrNoAnswer says that nobody answers where the cloud should be.
var ErrNoAnswer = fmt.Errorf("the cloud does not answer: %w", fault.Unavailable)

// Kube is a Kubernetes API server.
type Kube struct {
	Server    string // https://host:port
	Namespace string // of the kubeconfig's context; "default" where it names none
	http      *http.Client
}

// Get reads the object or list at path into out.
func (k *Kube) Get(ctx context.Context, path string, out any) error {
	return k.call(ctx, http.MethodGet, path, "", nil, out)
}

// Create posts obj to the collection at path.
func (k *Kube) Create(ctx context.Context, path string, obj, out any) error {
	return k.call(ctx, http.MethodPost, path, "application/json", obj, out)
}

// Put makes what is at path be obj, and reads the answer into out; either may
// be nil.
func (k *Kube) Put(ctx context.Context, path string, obj, out any) error {
	return k.call(ctx, http.MethodPut, path, "application/json", obj, out)
}

// Merge changes the object at path by a JSON merge patch.
func (k *Kube) Merge(ctx context.Context, path string, patch, out any) error {
	return k.call(ctx, http.MethodPatch, path, "application/merge-patch+json", patch, out)
}

// Apply makes the object at path be obj, by server-side apply.
func (k *Kube) Apply(ctx context.Context, path string, obj, out any) error {
	return k.call(ctx, http.MethodPatch, path+"?fieldManager=sampan&force=true", "application/apply-patch+yaml", obj, out)
}

// Delete deletes the object at path, and what it owns in the background.
func (k *Kube) Delete(ctx context.Context, path string) error {
	return k.call(ctx, http.MethodDelete, path+"?propagationPolicy=Background", "", nil, nil)
}

// Stream returns what GET of path sends, for the caller to read and close.
func (k *Kube) Stream(ctx context.Context, path string) (io.ReadCloser, error) {
	res, err := k.do(ctx, http.MethodGet, path, "", nil)
	if err != nil {
		return nil, err
	}
	return res.Body, nil
}

// Watch calls each for every change of what path selects, until it returns
// false, ctx ends or the server closes the watch.
func (k *Kube) Watch(ctx context.Context, path string, each func(kind string, object json.RawMessage) bool) error {
	sep := "?"
	if strings.Contains(path, "?") {
		sep = "&"
	}
	body, err := k.Stream(ctx, path+sep+"watch=true")
	if err != nil {
		return err
	}
	defer body.Close()
	d := json.NewDecoder(bufio.NewReader(body))
	for {
		var e struct {
			Type   string
			Object json.RawMessage
		}
		if err := d.Decode(&e); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		if !each(e.Type, e.Object) {
			return nil
		}
	}
}

func (k *Kube) call(ctx context.Context, method, path, kind string, in, out any) error {
	var body []byte
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = b
	}
	res, err := k.do(ctx, method, path, kind, body)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if out == nil {
		_, err := io.Copy(io.Discard, res.Body)
		return err
	}
	return json.NewDecoder(res.Body).Decode(out)
}

func (k *Kube) do(ctx context.Context, method, path, kind string, body []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, k.Server+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	res, err := k.http.Do(req)
	if err != nil {
		var ue *url.Error
		if errors.As(err, &ue) && ctx.Err() == nil {
			return nil, fmt.Errorf("%s: %w: %w", k.Server, ue.Err, ErrNoAnswer)
		}
		return nil, err
	}
	if res.StatusCode/100 != 2 {
		defer res.Body.Close()
		return nil, kubeError(res)
	}
	return res, nil
}

// kubeError reads the API's own words for a failure.
func kubeError(res *http.Response) error {
	var s struct {
		Message, Reason string
		Details         struct{ Causes []Cause }
	}
	data, _ := io.ReadAll(io.LimitReader(res.Body, 1<<16))
	if json.Unmarshal(data, &s) != nil || s.Message == "" {
		s.Message = strings.TrimSpace(res.Status + " " + string(data))
	}
	return &APIError{Message: s.Message, Kind: kindOf(res.StatusCode), Causes: s.Details.Causes}
}

// APIError is a failure in the server's own words.
type APIError struct {
	Message string
	Kind    fault.Kind
	Causes  []Cause

	ExitCode int // of a program that could not be executed; 0 for other failures
}

// Cause is one of the things that the server finds wrong with an object.
type Cause struct {
	Field, Reason, Message string
}

func (e *APIError) Error() string { return e.Message }

// Unwrap gives the kind.
func (e *APIError) Unwrap() error { return e.Kind }

func kindOf(status int) fault.Kind {
	for _, k := range []fault.Kind{fault.Invalid, fault.NotFound, fault.Exists, fault.Unauthorized, fault.Forbidden,
		fault.Precondition, fault.Exhausted, fault.Unavailable, fault.Timeout, fault.Unsupported} {
		if k.HTTP() == status {
			return k
		}
	}
	if status == http.StatusUnprocessableEntity {
		return fault.Invalid
	}
	return fault.Internal
}

// handshake bounds how long a server that is going down may keep us waiting.
const handshake = 5 * time.Second
