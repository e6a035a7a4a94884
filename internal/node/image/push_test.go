package image

import (
	"net/http"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

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
