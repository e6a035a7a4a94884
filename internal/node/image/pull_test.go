package image

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// noise is content that does not compress.
func noise(n int) string {
	data := make([]byte, n)
	r := rand.New(rand.NewPCG(1, uint64(n)))
	for i := range data {
		data[i] = byte(r.Uint32())
	}
	return string(data)
}

func TestPullAndUnpack(t *testing.T) {
	needRoot(t)
	reg := newRegistry(t)
	reg.image(t, "shop/web", "3", amd64, layer(t, directory("etc"), file("etc/motd", "hello")), layer(t, file("etc/more", "x")))
	s := reg.store(t)
	ref := reg.host + "/shop/web:3"
	var mu sync.Mutex
	steps := map[string]int{}
	img, err := s.Pull(t.Context(), ref, PullOptions{Progress: func(p Progress) {
		mu.Lock()
		defer mu.Unlock()
		steps[p.Step]++
	}})
	if err != nil {
		t.Fatal(err)
	}
	if len(img.Names) != 1 || img.Names[0] != ref || len(img.Digests) != 1 || len(img.Layers) != 2 {
		t.Errorf("Pull(%s) = %+v, want one name, one digest, two layers", ref, img)
	}
	if steps["resolve"] != 1 || steps["done"] != 3 || steps["download"] < 3 {
		t.Errorf("progress = %v, want one manifest resolved and three blobs downloaded", steps)
	}
	var lowers []string
	for _, layer := range img.Layers {
		dir := t.TempDir()
		if err := s.Unpack(t.Context(), layer, dir, lowers); err != nil {
			t.Fatal(err)
		}
		lowers = append([]string{dir}, lowers...)
	}
	if got, err := os.ReadFile(filepath.Join(lowers[1], "etc/motd")); string(got) != "hello" {
		t.Errorf("etc/motd = %q, %v; want hello", got, err)
	}
	reg.count("")
	if _, err := s.Pull(t.Context(), ref, PullOptions{}); err != nil {
		t.Fatal(err)
	}
	if n := reg.count("/blobs/"); n != 0 {
		t.Errorf("the second pull asked for %d blobs, want none", n)
	}
}

func TestPullPicksThePlatform(t *testing.T) {
	reg := newRegistry(t)
	var all []ocispec.Descriptor
	byName := map[string]digest.Digest{}
	for _, p := range []ocispec.Platform{
		{OS: "windows", Architecture: "amd64"},
		{OS: "linux", Architecture: "arm", Variant: "v5"},
		{OS: "linux", Architecture: "arm", Variant: "v6"},
		{OS: "linux", Architecture: "arm", Variant: "v7"},
		amd64,
		{OS: "linux", Architecture: "arm64", Variant: "v8"},
		{OS: "unknown", Architecture: "unknown"},
	} {
		d := reg.image(t, "web", "", p, layer(t, file("p", platformName(p))))
		d.Platform = &p
		all = append(all, d)
		byName[platformName(p)] = d.Digest
	}
	index := reg.index(t, "web", "1", all...)
	for want, platform := range map[string]ocispec.Platform{
		"linux/amd64":    amd64,
		"linux/arm64/v8": {OS: "linux", Architecture: "arm64"},
		"linux/arm/v7":   {OS: "linux", Architecture: "arm", Variant: "v7"},
		"linux/arm/v6":   {OS: "linux", Architecture: "arm", Variant: "v6"},
	} {
		t.Run(want, func(t *testing.T) {
			s := reg.store(t, func(cfg *Config) { cfg.Platform = platform })
			img, err := s.Pull(t.Context(), reg.host+"/web:1", PullOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if img.Manifest.Digest != byName[want] {
				t.Errorf("manifest = %s, want that of %s", img.Manifest.Digest, want)
			}
			if got, want := img.Digests, []string{reg.host + "/web@" + index.Digest.String()}; !slices.Equal(got, want) {
				t.Errorf("digests = %q, want the index's %q", got, want)
			}
		})
	}
	t.Run("none fits", func(t *testing.T) {
		s := reg.store(t, func(cfg *Config) { cfg.Platform = ocispec.Platform{OS: "linux", Architecture: "riscv64"} })
		_, err := s.Pull(t.Context(), reg.host+"/web:1", PullOptions{})
		if err == nil || !strings.Contains(err.Error(), "linux/riscv64, only for: linux/amd64") {
			t.Errorf("Pull = %v, want an error that lists the platforms", err)
		}
	})
	t.Run("by digest", func(t *testing.T) {
		s := reg.store(t)
		reg.count("")
		ref := reg.host + "/web@" + index.Digest.String()
		for _, name := range []string{reg.host + "/web:9@" + index.Digest.String(), ref} {
			img, err := s.Pull(t.Context(), name, PullOptions{})
			if err != nil || len(img.Names) != 0 || !slices.Equal(img.Digests, []string{ref}) {
				t.Errorf("Pull(%s) = %q %q, %v; want no name and one digest", name, img.Names, img.Digests, err)
			}
		}
		if n := reg.count("/manifests/"); n != 2 {
			t.Errorf("two pulls by digest asked for %d manifests, want 2: what is here is not asked for", n)
		}
	})
}

func TestMirrorsAreAskedInOrder(t *testing.T) {
	mirror, origin := newRegistry(t), newRegistry(t)
	mirror.image(t, "web", "1", amd64, layer(t, file("from", "mirror")))
	origin.image(t, "web", "1", amd64, layer(t, file("from", "origin")))
	origin.image(t, "web", "2", amd64, layer(t, file("from", "origin")))
	gone := httptest.NewServer(nil)
	gone.Close()
	plain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mirror.Config.Handler.ServeHTTP(w, r)
	}))
	defer plain.Close()
	s := openStore(t, Config{Registries: map[string]Registry{
		origin.host:       {CAFiles: []string{origin.caFile}, Mirrors: []string{gone.URL, mirror.URL}},
		mirror.host:       {CAFiles: []string{mirror.caFile}},
		"registry.k8s.io": {Mirrors: []string{plain.URL}},
	}})
	for name, tt := range map[string]struct {
		ref          string
		mirror, orig int // manifests asked for
	}{
		"the first that has it":         {origin.host + "/web:1", 1, 0},
		"the origin when no mirror has": {origin.host + "/web:2", 1, 1},
		"plain HTTP on the loopback":    {"registry.k8s.io/web:1", 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			mirror.count("")
			origin.count("")
			if _, err := s.Pull(t.Context(), tt.ref, PullOptions{}); err != nil {
				t.Fatal(err)
			}
			if m, o := mirror.count("/manifests/"), origin.count("/manifests/"); m != tt.mirror || o != tt.orig {
				t.Errorf("mirror was asked %d times and origin %d, want %d and %d", m, o, tt.mirror, tt.orig)
			}
		})
	}
}

// cutter answers requests for large blobs with the first cut bytes and then
// breaks the connection, n times.
func cutter(cut int, n int, ranges *[]string) func(w http.ResponseWriter, r *http.Request, next http.Handler) {
	var mu sync.Mutex
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		answer := httptest.NewRecorder()
		next.ServeHTTP(answer, r)
		body := answer.Body.Bytes()
		mu.Lock()
		defer mu.Unlock()
		isLayer := strings.Contains(r.URL.Path, "/blobs/") && len(body) > cut
		if isLayer && ranges != nil {
			*ranges = append(*ranges, r.Header.Get("Range"))
		}
		for key, values := range answer.Header() {
			w.Header()[key] = values
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(body)))
		w.WriteHeader(answer.Code)
		if isLayer && n > 0 {
			n--
			w.Write(body[:cut])
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}
		w.Write(body)
	}
}

func TestBrokenDownloadsAreResumed(t *testing.T) {
	reg := newRegistry(t)
	reg.image(t, "web", "1", amd64, layer(t, file("a", noise(900<<10))))
	var ranges []string
	reg.set(cutter(200<<10, 3, &ranges))
	s := reg.store(t)
	if _, err := s.Pull(t.Context(), reg.host+"/web:1", PullOptions{}); err != nil {
		t.Fatal(err)
	}
	if len(ranges) < 4 || ranges[0] != "" || !strings.HasPrefix(ranges[1], fmt.Sprintf("bytes=%d-", 200<<10)) {
		t.Errorf("ranges = %q, want the second request to go on where the first broke", ranges)
	}
}

func TestABrokenPullIsResumedAfterARestart(t *testing.T) {
	reg := newRegistry(t)
	reg.image(t, "web", "1", amd64, layer(t, file("a", noise(900<<10))))
	reg.set(cutter(200<<10, 100, nil))
	cfg := Config{Root: t.TempDir(), Attempts: 1, Registries: map[string]Registry{reg.host: {CAFiles: []string{reg.caFile}}}}
	ctx, cancel := context.WithCancel(t.Context())
	s := openStore(t, cfg)
	_, err := s.Pull(ctx, reg.host+"/web:1", PullOptions{Progress: func(p Progress) {
		if p.Step == "download" && p.Done >= 150<<10 {
			cancel()
		}
	}})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("Pull = %v, want it canceled", err)
	}
	if images, _ := s.List(t.Context()); len(images) != 0 {
		t.Errorf("a broken pull shows %d images", len(images))
	}
	s.Close()
	var ranges []string
	reg.set(cutter(1000, 0, &ranges))
	if _, err := openStore(t, cfg).Pull(t.Context(), reg.host+"/web:1", PullOptions{}); err != nil {
		t.Fatal(err)
	}
	if len(ranges) != 1 || !strings.HasPrefix(ranges[0], "bytes=") {
		t.Errorf("ranges = %q, want one request that goes on", ranges)
	}
}

func TestALeftoverThatDoesNotFitIsThrownAway(t *testing.T) {
	reg := newRegistry(t)
	m := reg.image(t, "web", "1", amd64, layer(t, file("a", noise(10<<10))))
	s := reg.store(t)
	var manifest ocispec.Manifest
	data := reg.get(t, "/v2/web/manifests/"+m.Digest.String())
	if err := json.Unmarshal(data, &manifest); err != nil {
		t.Fatal(err)
	}
	// As after a power cut: the length was written, the content was not.
	leftover := filepath.Join(s.cfg.Root, "uploads", downloadID(manifest.Layers[0].Digest))
	if err := os.WriteFile(leftover, make([]byte, 5000), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Pull(t.Context(), reg.host+"/web:1", PullOptions{}); err != nil {
		t.Errorf("Pull = %v, want the download to begin again", err)
	}
}

func TestPullsOfOneBlobShareTheDownload(t *testing.T) {
	reg := newRegistry(t)
	base := layer(t, file("a", noise(100<<10)))
	for i := range 8 {
		reg.image(t, fmt.Sprint("web", i), "1", amd64, base)
	}
	all := make(chan struct{})
	var once sync.Once
	var mu sync.Mutex
	arrived, asked := 0, map[string]int{}
	reg.set(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		mu.Lock()
		if strings.Contains(r.URL.Path, "/manifests/") {
			arrived++
		}
		if _, d, ok := strings.Cut(r.URL.Path, "/blobs/"); ok {
			asked[d]++
		}
		ready := arrived == 8
		mu.Unlock()
		if ready {
			once.Do(func() { close(all) })
		}
		if strings.Contains(r.URL.Path, "/blobs/") {
			<-all
		}
		next.ServeHTTP(w, r)
	})
	s := reg.store(t)
	var pulls sync.WaitGroup
	for i := range 8 {
		pulls.Go(func() {
			if _, err := s.Pull(t.Context(), fmt.Sprintf("%s/web%d:1", reg.host, i), PullOptions{}); err != nil {
				t.Error(err)
			}
		})
	}
	pulls.Wait()
	for d, n := range asked {
		if n != 1 {
			t.Errorf("blob %s was asked for %d times, want once", d, n)
		}
	}
}
