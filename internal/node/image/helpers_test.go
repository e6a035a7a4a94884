package image

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// testRegistry is a registry over TLS whose answers a test may change.
type testRegistry struct {
	*httptest.Server
	host   string
	caFile string

	mu       sync.Mutex
	requests []string
	meddle   func(w http.ResponseWriter, r *http.Request, next http.Handler) // nil passes on
}

func newRegistry(t *testing.T) *testRegistry {
	t.Helper()
	reg := &testRegistry{}
	next := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	reg.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		reg.mu.Lock()
		reg.requests = append(reg.requests, r.Method+" "+r.URL.Path)
		meddle := reg.meddle
		reg.mu.Unlock()
		if meddle != nil {
			meddle(w, r, next)
			return
		}
		next.ServeHTTP(w, r)
	}))
	reg.Config.ErrorLog = log.New(io.Discard, "", 0)
	reg.StartTLS()
	t.Cleanup(reg.Close)
	reg.host = strings.TrimPrefix(reg.URL, "https://")
	reg.caFile = filepath.Join(t.TempDir(), "ca.pem")
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: reg.Certificate().Raw})
	if err := os.WriteFile(reg.caFile, cert, 0o600); err != nil {
		t.Fatal(err)
	}
	return reg
}

// set changes how the registry answers from now on.
func (reg *testRegistry) set(meddle func(w http.ResponseWriter, r *http.Request, next http.Handler)) {
	reg.mu.Lock()
	defer reg.mu.Unlock()
	reg.meddle = meddle
}

// count returns how many requests contained part, and forgets them.
func (reg *testRegistry) count(part string) int {
	reg.mu.Lock()
	defer reg.mu.Unlock()
	n := 0
	for _, request := range reg.requests {
		if strings.Contains(request, part) {
			n++
		}
	}
	reg.requests = nil
	return n
}

// put sends a blob or, with a tag, a manifest, as a client would.
func (reg *testRegistry) put(t *testing.T, repo, tag, mediaType string, data []byte) ocispec.Descriptor {
	t.Helper()
	d := digest.FromBytes(data)
	method, path := http.MethodPost, fmt.Sprintf("/v2/%s/blobs/uploads/?digest=%s", repo, d)
	if isManifest(mediaType) || isIndex(mediaType) || tag != "" {
		if tag == "" {
			tag = d.String()
		}
		method, path = http.MethodPut, fmt.Sprintf("/v2/%s/manifests/%s", repo, tag)
	}
	req, err := http.NewRequest(method, reg.URL+path, bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", mediaType)
	resp, err := reg.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		t.Fatalf("%s %s = %s", method, path, resp.Status)
	}
	return ocispec.Descriptor{MediaType: mediaType, Digest: d, Size: int64(len(data))}
}

// image pushes an image of layers, as gzip, and returns its manifest.
func (reg *testRegistry) image(t *testing.T, repo, tag string, platform ocispec.Platform, layers ...[]byte) ocispec.Descriptor {
	t.Helper()
	config := ocispec.Image{Platform: platform}
	config.RootFS.Type = "layers"
	manifest := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest}
	for _, layer := range layers {
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, digest.FromBytes(layer))
		manifest.Layers = append(manifest.Layers, reg.put(t, repo, "", ocispec.MediaTypeImageLayerGzip, gzipped(t, layer)))
	}
	manifest.Config = reg.put(t, repo, "", ocispec.MediaTypeImageConfig, marshal(t, config))
	return reg.put(t, repo, tag, ocispec.MediaTypeImageManifest, marshal(t, manifest))
}

// index pushes an index.
func (reg *testRegistry) index(t *testing.T, repo, tag string, manifests ...ocispec.Descriptor) ocispec.Descriptor {
	t.Helper()
	index := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: manifests}
	return reg.put(t, repo, tag, ocispec.MediaTypeImageIndex, marshal(t, index))
}

// store opens a store that trusts the registry.
func (reg *testRegistry) store(t *testing.T, change ...func(*Config)) *Store {
	t.Helper()
	cfg := Config{Registries: map[string]Registry{reg.host: {CAFiles: []string{reg.caFile}}}}
	for _, f := range change {
		f(&cfg)
	}
	return openStore(t, cfg)
}

func openStore(t *testing.T, cfg Config) *Store {
	t.Helper()
	if cfg.Root == "" {
		cfg.Root = t.TempDir()
	}
	if cfg.Platform.OS == "" {
		cfg.Platform = amd64
	}
	cfg.RetryWait = time.Millisecond
	s, err := Open(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

var amd64 = ocispec.Platform{OS: "linux", Architecture: "amd64"}

func marshal(t *testing.T, v any) []byte {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func gzipped(t *testing.T, data []byte) []byte {
	t.Helper()
	var buf bytes.Buffer
	z := gzip.NewWriter(&buf)
	if _, err := z.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func zstandard(t *testing.T, data []byte) []byte {
	t.Helper()
	z, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	return z.EncodeAll(data, nil)
}

// layer makes a tar of entries; a regular file's content is in its Linkname.
func layer(t *testing.T, entries ...tar.Header) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, hdr := range entries {
		content := ""
		if hdr.Typeflag == tar.TypeReg {
			content, hdr.Linkname = hdr.Linkname, ""
			hdr.Size = int64(len(content))
		}
		if hdr.Mode == 0 {
			hdr.Mode = 0o644
		}
		if err := w.WriteHeader(&hdr); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func file(name, content string) tar.Header {
	return tar.Header{Typeflag: tar.TypeReg, Name: name, Linkname: content}
}

func directory(name string) tar.Header {
	return tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: 0o755}
}

// get returns what the registry answers.
func (reg *testRegistry) get(t *testing.T, path string) []byte {
	t.Helper()
	resp, err := reg.Client().Get(reg.URL + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("GET %s = %s, %v", path, resp.Status, err)
	}
	return data
}

func unmarshal(t *testing.T, text string, v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), v); err != nil {
		t.Fatal(err)
	}
}
