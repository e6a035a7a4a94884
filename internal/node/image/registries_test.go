package image

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

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

func TestARegistryMayLieElsewhere(t *testing.T) {
	reg := newRegistry(t)
	reg.image(t, "web", "1", amd64, layer(t, file("a", "1")))
	for _, host := range []string{"example.com", "example.com:5000"} { // whose certificate the test's server has
		s := openStore(t, Config{Registries: map[string]Registry{host: {Address: reg.host, CAFiles: []string{reg.caFile}}}})
		img, err := s.Pull(t.Context(), host+"/web:1", PullOptions{})
		if err != nil || len(img.Names) != 1 || img.Names[0] != host+"/web:1" {
			t.Errorf("Pull(%s/web:1) = %q, %v; want it from the other address", host, img.Names, err)
		}
	}
}
