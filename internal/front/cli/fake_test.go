package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// fakeAPI answers as a Kubernetes API does, from what it is given.
type fakeAPI struct {
	mu      sync.Mutex
	objects map[string]any                                  // by path
	patches []patched                                       // in their order
	answer  func(path string, body object) (any, int, bool) // to a patch, before the default one
	watches map[string][]any                                // states that a watch sends, by the collection's path
}

type patched struct {
	path string
	body object
}

func (f *fakeAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case r.Method == http.MethodPatch || r.Method == http.MethodPut || r.Method == http.MethodPost:
		var body object
		data, _ := io.ReadAll(r.Body)
		if err := json.Unmarshal(data, &body); err != nil && len(data) > 0 {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		f.patches = append(f.patches, patched{r.URL.Path, body})
		if f.answer != nil {
			if v, status, ok := f.answer(r.URL.Path, body); ok {
				reply(w, status, v)
				return
			}
		}
		reply(w, http.StatusOK, body)
	case r.URL.Query().Get("watch") == "true":
		for _, o := range f.watches[r.URL.Path] {
			reply(w, http.StatusOK, object{"type": "MODIFIED", "object": o})
		}
		if len(f.watches[r.URL.Path]) > 0 {
			f.watches[r.URL.Path] = f.watches[r.URL.Path][:0]
		}
	default:
		if o, ok := f.objects[r.URL.Path]; ok {
			reply(w, http.StatusOK, o)
			return
		}
		reply(w, http.StatusNotFound, object{"message": fmt.Sprintf("%s not found", filepath.Base(r.URL.Path)), "reason": "NotFound"})
	}
}

func reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	if status != http.StatusOK {
		w.WriteHeader(status)
	}
	json.NewEncoder(w).Encode(v)
}

// typed runs the command line against api as a user types it.
func typed(t *testing.T, api *fakeAPI, lang, in string, args ...string) (code int, out, errOut string) {
	t.Helper()
	s := httptest.NewServer(api)
	defer s.Close()
	config := filepath.Join(t.TempDir(), "kubeconfig")
	text := fmt.Sprintf("current-context: x\ncontexts: [{name: x, context: {cluster: x, namespace: shop}}]\nclusters: [{name: x, cluster: {server: %q}}]\n", s.URL)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var o, e bytes.Buffer
	env := Env{In: strings.NewReader(in), Out: &o, Err: &e, Version: "test", Getenv: func(k string) string {
		return map[string]string{"SAMPAN_LANG": lang}[k]
	}}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	code = Main(ctx, env, append([]string{"--kubeconfig", config}, args...))
	return code, o.String(), e.String()
}

// golden compares got with a file in testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
	}
}
