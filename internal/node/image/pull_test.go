package image

import (
	"bytes"
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

	"github.com/sampan-cloud/sampan/internal/base/fault"
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

func TestTransientFailuresAreRetried(t *testing.T) {
	reg := newRegistry(t)
	reg.image(t, "web", "1", amd64, layer(t, file("a", "1")))
	for _, status := range []int{500, 502, 503, 429} {
		var mu sync.Mutex
		failed := map[string]bool{}
		reg.set(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			mu.Lock()
			first := !failed[r.URL.Path]
			failed[r.URL.Path] = true
			mu.Unlock()
			if first {
				w.WriteHeader(status)
				return
			}
			next.ServeHTTP(w, r)
		})
		if _, err := reg.store(t).Pull(t.Context(), reg.host+"/web:1", PullOptions{}); err != nil {
			t.Errorf("Pull with every first answer %d = %v", status, err)
		}
	}
}

func TestPullSaysWhatIsWrong(t *testing.T) {
	reg := newRegistry(t)
	reg.image(t, "web", "1", amd64, layer(t, file("a", noise(2000))))
	reg.put(t, "old", "1", dockerSchema1Signs, []byte(`{"schemaVersion":1,"name":"old","fsLayers":[]}`))
	change := func(part string, body func([]byte) []byte) func(http.ResponseWriter, *http.Request, http.Handler) {
		return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			answer := httptest.NewRecorder()
			next.ServeHTTP(answer, r)
			if !strings.Contains(r.URL.Path, part) || answer.Body.Len() < 1000 && part == "/blobs/" {
				next.ServeHTTP(w, r)
				return
			}
			if digest := answer.Header().Get("Docker-Content-Digest"); digest != "" {
				w.Header().Set("Docker-Content-Digest", digest)
			}
			w.WriteHeader(answer.Code)
			w.Write(body(answer.Body.Bytes()))
		}
	}
	status := func(code int, body string) func(http.ResponseWriter, *http.Request, http.Handler) {
		return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if strings.Contains(r.URL.Path, "/manifests/") {
				w.WriteHeader(code)
				w.Write([]byte(body))
				return
			}
			next.ServeHTTP(w, r)
		}
	}
	gone := httptest.NewServer(nil)
	gone.Close()
	for name, tt := range map[string]struct {
		ref    string
		meddle func(http.ResponseWriter, *http.Request, http.Handler)
		kind   fault.Kind
		want   string
	}{
		"a wrong name":            {"Web", nil, fault.Invalid, "image name"},
		"a tag that is not there": {reg.host + "/web:2", nil, fault.NotFound, "has no tag 2 of web"},
		"a name nobody knows":     {reg.host + "/nothing", nil, fault.NotFound, "has no tag latest of nothing"},
		"a missing digest":        {reg.host + "/web@" + digest.FromString("x").String(), nil, fault.NotFound, "has no manifest sha256:"},
		"no registry there":       {strings.TrimPrefix(gone.URL, "http://") + "/web", nil, fault.Unavailable, "connection refused"},
		"no such host":            {"registry.invalid/web", nil, fault.Unavailable, "registry.invalid"},
		"an old manifest":         {reg.host + "/old:1", nil, fault.Unsupported, "schema 1"},
		"no login":                {reg.host + "/web:1", status(401, `{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}`), fault.Unauthorized, "needs a login"},
		"not allowed":             {reg.host + "/web:1", status(403, `{"errors":[{"code":"DENIED"}]}`), fault.Forbidden, "denied"},
		"always busy":             {reg.host + "/web:1", status(503, ""), fault.Unavailable, "503 service unavailable"},
		"another blob":            {reg.host + "/web:1", change("/blobs/", func(b []byte) []byte { return bytes.Repeat([]byte("x"), len(b)) }), fault.Corrupt, "layer 1 of 1"},
		"a blob that is too long": {reg.host + "/web:1", change("/blobs/", func(b []byte) []byte { return append(b, b...) }), fault.Corrupt, "longer than"},
		"another manifest":        {reg.host + "/web:1", change("/manifests/", func(b []byte) []byte { return append(b, ' ') }), fault.Corrupt, "digest"},
		"no manifest":             {reg.host + "/web:1", change("/manifests/", func([]byte) []byte { return []byte("<html>") }), fault.Corrupt, "not JSON"},
	} {
		t.Run(name, func(t *testing.T) {
			reg.set(tt.meddle)
			s := reg.store(t, func(cfg *Config) { cfg.Attempts = 2 })
			_, err := s.Pull(t.Context(), tt.ref, PullOptions{})
			if err == nil || fault.Of(err) != tt.kind || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("Pull = %v (%s), want one line with %q (%s)", err, fault.Of(err), tt.want, tt.kind)
			}
			if images, _ := s.List(t.Context()); len(images) != 0 {
				t.Errorf("a failed pull shows %d images", len(images))
			}
		})
	}
	t.Run("an authority nobody trusts", func(t *testing.T) {
		reg.set(nil)
		_, err := openStore(t, Config{}).Pull(t.Context(), reg.host+"/web:1", PullOptions{})
		if fault.Of(err) != fault.Precondition || !strings.Contains(err.Error(), "caFiles") {
			t.Errorf("Pull = %v, want it to name caFiles", err)
		}
	})
	t.Run("an authority nobody checks", func(t *testing.T) {
		s := openStore(t, Config{Registries: map[string]Registry{"*": {Insecure: true}}})
		if _, err := s.Pull(t.Context(), reg.host+"/web:1", PullOptions{}); err != nil {
			t.Error(err)
		}
	})
}

func TestPullLogsIn(t *testing.T) {
	reg := newRegistry(t)
	reg.image(t, "web", "1", amd64, layer(t, file("a", "1")))
	basic := func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if user, pass, _ := r.BasicAuth(); user != "ann" || pass != "secret" {
			w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	}
	token := func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		user, pass, _ := r.BasicAuth()
		switch {
		case r.URL.Path == "/token" && user == "ann" && pass == "secret" && strings.HasPrefix(r.FormValue("scope"), "repository:web:pull"):
			w.Write([]byte(`{"token":"open"}`))
		case r.URL.Path == "/token":
			w.WriteHeader(http.StatusUnauthorized)
		case r.Header.Get("Authorization") != "Bearer open":
			w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="%s/token",service="test"`, reg.URL))
			w.WriteHeader(http.StatusUnauthorized)
		default:
			next.ServeHTTP(w, r)
		}
	}
	for name, meddle := range map[string]func(http.ResponseWriter, *http.Request, http.Handler){"basic": basic, "token": token} {
		for who, tt := range map[string]struct {
			auth     *Auth
			settings *Auth
			kind     fault.Kind
		}{
			"with the caller's password":  {&Auth{Username: "ann", Password: "secret"}, nil, ""},
			"with the settings' password": {nil, &Auth{Username: "ann", Password: "secret"}, ""},
			"with a wrong password":       {&Auth{Username: "ann", Password: "guess"}, nil, fault.Unauthorized},
			"without":                     {nil, nil, fault.Unauthorized},
		} {
			t.Run(name+" "+who, func(t *testing.T) {
				reg.set(meddle)
				s := openStore(t, Config{Registries: map[string]Registry{reg.host: {CAFiles: []string{reg.caFile}, Auth: tt.settings}}})
				_, err := s.Pull(t.Context(), reg.host+"/web:1", PullOptions{Auth: tt.auth})
				if fault.Of(err) != tt.kind {
					t.Errorf("Pull = %v (%s), want %q", err, fault.Of(err), tt.kind)
				}
			})
		}
	}
}

func TestPasswordsAreNotSentInTheClear(t *testing.T) {
	h, err := newHosts(nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ends, err := h.endpoints("10.0.0.1:5000", "web", &Auth{Username: "ann", Password: "secret"})
	if err != nil {
		t.Fatal(err)
	}
	req := httptest.NewRequest(http.MethodGet, "http://10.0.0.1:5000/v2/", nil)
	if _, err := ends[0].base.RoundTrip(req); fault.Of(err) != fault.Precondition {
		t.Errorf("RoundTrip(http) = %v, want it refused", err)
	}
}

func TestPullOnAFullDisk(t *testing.T) {
	reg := newRegistry(t)
	reg.image(t, "web", "1", amd64, layer(t, file("a", noise(300<<10))), layer(t, file("b", noise(3<<20))))
	root := smallDisk(t, "1m")
	s := reg.store(t, func(cfg *Config) { cfg.Root = root })
	_, err := s.Pull(t.Context(), reg.host+"/web:1", PullOptions{})
	if fault.Of(err) != fault.Exhausted || !strings.Contains(err.Error(), root) || strings.Contains(err.Error(), "\n") {
		t.Errorf("Pull = %v, want one line, out of resources, with %s", err, root)
	}
	for _, pattern := range []string{"uploads/*", "blobs/*/*/*"} {
		if left, _ := filepath.Glob(filepath.Join(root, pattern)); len(left) != 0 {
			t.Errorf("left on the full disk: %q", left)
		}
	}
}

func TestPushedImagesCanBePulled(t *testing.T) {
	reg := newRegistry(t)
	from, to := reg.store(t), reg.store(t)
	img := addWeb(t, from, reg.host+"/shop/web:3")
	target, err := from.Push(t.Context(), reg.host+"/shop/web:3", PushOptions{})
	if err != nil {
		t.Fatal(err)
	}
	got, err := to.Pull(t.Context(), reg.host+"/shop/web:3", PullOptions{})
	if err != nil || got.ID != img.ID || got.Target.Digest != target.Digest {
		t.Errorf("Pull = %s of %s, %v; want %s of %s", got.ID, got.Target.Digest, err, img.ID, target.Digest)
	}
	_, err = from.Push(t.Context(), reg.host+"/shop/web:4", PushOptions{})
	if fault.Of(err) != fault.NotFound {
		t.Errorf("Push of an unknown image = %v, want not found", err)
	}
	reg.set(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		w.WriteHeader(http.StatusUnauthorized)
	})
	_, err = from.Push(t.Context(), reg.host+"/shop/web:3", PushOptions{})
	if fault.Of(err) != fault.Unauthorized {
		t.Errorf("Push without a login = %v, want not logged in", err)
	}
}

func TestAnIndexIsPushedWithWhatIsHere(t *testing.T) {
	reg, other := newRegistry(t), newRegistry(t)
	arm := ocispec.Platform{OS: "linux", Architecture: "arm64"}
	a := reg.image(t, "web", "", amd64, layer(t, file("a", "1")))
	b := reg.image(t, "web", "", arm, layer(t, file("b", "1")))
	a.Platform, b.Platform = &amd64, &arm
	index := reg.index(t, "web", "1", a, b)
	s := openStore(t, Config{Registries: map[string]Registry{"*": {Insecure: true}}})
	t.Run("one platform", func(t *testing.T) {
		pushIndex(t, s, other, reg.host+"/web:1", reg.host+"/web:1", a.Digest)
	})
	t.Run("all platforms", func(t *testing.T) {
		pushIndex(t, s, other, reg.host+"/web:1", reg.host+"/web@"+b.Digest.String(), index.Digest)
	})
}

// pushIndex pulls one more image and pushes ref to the registry.
func pushIndex(t *testing.T, s *Store, to *testRegistry, ref, pull string, want digest.Digest) {
	t.Helper()
	for _, r := range []string{ref, pull} {
		if _, err := s.Pull(t.Context(), r, PullOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	name := to.host + "/copy:1"
	if err := s.Tag(t.Context(), ref, name); err != nil {
		t.Fatal(err)
	}
	got, err := s.Push(t.Context(), name, PushOptions{})
	if err != nil || got.Digest != want {
		t.Errorf("Push = %s, %v; want %s", got.Digest, err, want)
	}
}
