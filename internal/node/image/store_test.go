package image

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"go.etcd.io/bbolt"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

func TestParseName(t *testing.T) {
	d := "sha256:" + strings.Repeat("a", 64)
	for name, tt := range map[string]struct{ in, want string }{
		"a bare name is docker's":         {"nginx", "docker.io/library/nginx:latest"},
		"a user's name is docker's too":   {"ann/web:2", "docker.io/ann/web:2"},
		"a dot makes a host":              {"registry.local/web", "registry.local/web:latest"},
		"a port is not a tag":             {"host:5000/web", "host:5000/web:latest"},
		"localhost is a host":             {"localhost/web:1", "localhost/web:1"},
		"a host may be an address":        {"[fd00::1]:5000/web", "[fd00::1]:5000/web:latest"},
		"a host in upper case is one":     {"Registry.Example.com/web", "Registry.Example.com/web:latest"},
		"a digest needs no tag":           {"web@" + d, "docker.io/library/web@" + d},
		"a digest counts more than a tag": {"web:1@" + d, "docker.io/library/web@" + d},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ParseName(tt.in)
			if err != nil || got.String() != tt.want {
				t.Errorf("ParseName(%q) = %v, %v; want %s", tt.in, got, err, tt.want)
			}
		})
	}
	for bad, want := range map[string]string{
		"": "invalid reference", "a b": "invalid reference", "web:": "invalid reference", "web@sha256:12": "invalid",
		"http://host/web": "invalid reference", strings.Repeat("a", 64): "cannot specify 64-byte hexadecimal",
		"UPPER":                                "must be lowercase",
		"Shop/web":                             "no registry is called Shop",
		"host:5000/Web":                        "must be lowercase",
		"host:70000/web":                       "70000 is not a port",
		"host:0/web":                           "0 is not a port",
		"10.0.0.300/web":                       "10.0.0.300, is neither an address nor a name",
		strings.Repeat("a", 64) + ".io/web":    "more than 63 characters",
		strings.Repeat("a.", 127) + "io/web:1": "more than 25", // of the host, or of the whole
	} {
		got, err := ParseName(bad)
		if fault.Of(err) != fault.Invalid || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseName(%q) = %v, %v; want it invalid with %q", bad, got, err, want)
		}
	}
}

// A name that cannot be one is refused before anybody is asked for it.
func TestPullRefusesBadNamesAtOnce(t *testing.T) {
	s := openStore(t, Config{})
	for _, bad := range []string{"Shop/web:1", "shop/Web:1", "registry.example.com:99999/web", "10.0.0.300/web"} {
		began := time.Now()
		_, err := s.Pull(t.Context(), bad, PullOptions{})
		if took := time.Since(began); fault.Of(err) != fault.Invalid || took > 100*time.Millisecond {
			t.Errorf("Pull(%q) = %v after %s, want it invalid at once", bad, err, took)
		}
	}
}

func TestASecondProcessIsRefused(t *testing.T) {
	s := openStore(t, Config{})
	began := time.Now()
	_, err := Open(s.cfg, slog.New(slog.DiscardHandler))
	if fault.Of(err) != fault.Precondition || !strings.Contains(err.Error(), s.cfg.Root) || !strings.Contains(err.Error(), "another process") {
		t.Errorf("Open = %v, want it to say that another process has it", err)
	}
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("Open took %s to say so", took)
	}
}

func TestAStoreOfANewerProgramIsRefused(t *testing.T) {
	root := t.TempDir()
	s := openStore(t, Config{Root: root})
	err := s.db.Update(func(tx *bbolt.Tx) error { return tx.Bucket([]byte(metaBucket)).Put([]byte("format"), []byte("99")) })
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	_, err = Open(Config{Root: root}, slog.New(slog.DiscardHandler))
	if fault.Of(err) != fault.Precondition || !strings.Contains(err.Error(), "newer program") {
		t.Errorf("Open = %v, want it to ask for the newer program", err)
	}
}

func TestUploadsSurviveARestart(t *testing.T) {
	root := t.TempDir()
	s := openStore(t, Config{Root: root})
	w, err := s.Blobs().Create()
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(w, "hello ")
	if _, err := s.Blobs().Resume(w.ID()); fault.Of(err) != fault.Precondition {
		t.Errorf("Resume of an upload in use = %v, want it refused", err)
	}
	w.Close()
	s.Close()

	s = openStore(t, Config{Root: root})
	w, err = s.Blobs().Resume(w.ID())
	if err != nil || w.Offset() != 6 {
		t.Fatalf("Resume = offset %d, %v; want 6", w.Offset(), err)
	}
	io.WriteString(w, "world")
	d := digest.FromString("hello world")
	if err := w.Commit(d); err != nil {
		t.Fatal(err)
	}
	blob, err := s.Blobs().Open(d)
	if err != nil {
		t.Fatal(err)
	}
	defer blob.Close()
	if data, _ := io.ReadAll(blob); string(data) != "hello world" || blob.Size != 11 {
		t.Errorf("blob = %q of %d bytes", data, blob.Size)
	}
	if _, err := s.Blobs().Resume(w.ID()); fault.Of(err) != fault.NotFound {
		t.Errorf("Resume after Commit = %v, want not found", err)
	}
}

func TestOnlyTheRightContentBecomesABlob(t *testing.T) {
	s := openStore(t, Config{})
	for name, tt := range map[string]struct {
		want digest.Digest
		kind fault.Kind
	}{
		"the digest fits":         {digest.FromString("x"), ""},
		"SHA-512 fits":            {digest.SHA512.FromString("x"), ""},
		"the digest does not fit": {digest.FromString("y"), fault.Corrupt},
		"no digest":               {"", fault.Invalid},
		"a path for a digest":     {"sha256:../../../../etc/passwd", fault.Invalid},
	} {
		t.Run(name, func(t *testing.T) {
			w, err := s.Blobs().Create()
			if err != nil {
				t.Fatal(err)
			}
			io.WriteString(w, "x")
			if err := w.Commit(tt.want); fault.Of(err) != tt.kind {
				t.Errorf("Commit(%s) = %v, want %q", tt.want, err, tt.kind)
			}
			if _, err := s.Blobs().Stat(tt.want); (err == nil) != (tt.kind == "") {
				t.Errorf("Stat(%s) = %v", tt.want, err)
			}
		})
	}
	for _, id := range []string{"", "../names.db", "a/b", ".x"} {
		if _, err := s.Blobs().Resume(id); fault.Of(err) != fault.Invalid {
			t.Errorf("Resume(%q) = %v, want it invalid", id, err)
		}
	}
}

func TestANameNeedsEverythingItLeadsTo(t *testing.T) {
	s := openStore(t, Config{})
	img := addWeb(t, s, "web:3")
	if err := s.Blobs().Delete(img.Layers[0].Digest); err != nil {
		t.Fatal(err)
	}
	err := s.Names(RegistryNames).Set("shop/web:3", img.Target)
	if fault.Of(err) != fault.NotFound || !strings.Contains(err.Error(), img.Layers[0].Digest.String()) {
		t.Errorf("Set = %v, want it to name the missing layer", err)
	}
}

func TestNamesSurviveARestart(t *testing.T) {
	root := t.TempDir()
	s := openStore(t, Config{Root: root})
	img := addWeb(t, s, "web:3")
	registry := s.Names(RegistryNames)
	for _, name := range []string{"shop/b", "shop/a", "other/c", "shop/gone"} {
		if err := registry.Set(name, img.Target); err != nil {
			t.Fatal(err)
		}
	}
	if err := registry.Delete("shop/gone", "never/there"); err != nil {
		t.Fatal(err)
	}
	s.Close()
	registry = openStore(t, Config{Root: root}).Names(RegistryNames)
	var got []string
	for _, name := range registry.List("shop/") {
		got = append(got, name.Name)
	}
	if want := []string{"shop/a", "shop/b"}; !slices.Equal(got, want) {
		t.Errorf("List(shop/) = %q, want %q", got, want)
	}
	if target, err := registry.Get("shop/a"); err != nil || target.Digest != img.Target.Digest {
		t.Errorf("Get(shop/a) = %v, %v", target, err)
	}
	if _, err := registry.Get("shop/gone"); fault.Of(err) != fault.NotFound {
		t.Errorf("Get of a deleted name = %v, want not found", err)
	}
}

func TestGetFindsImagesByAllTheirNames(t *testing.T) {
	s := openStore(t, Config{})
	img := addWeb(t, s, "web:3")
	if _, err := s.AddImage(t.Context(), "other", ocispec.Image{Author: "x"}, false); err != nil {
		t.Fatal(err)
	}
	for _, ref := range []string{
		"web:3", "docker.io/library/web:3", img.ID.String(), img.ID.Encoded(), img.ID.Encoded()[:12], "sha256:" + img.ID.Encoded()[:9],
		"web@" + img.Target.Digest.String(), "web:whatever@" + img.Target.Digest.String(),
	} {
		got, err := s.Get(t.Context(), ref)
		if err != nil || got.ID != img.ID || !slices.Equal(got.Names, []string{"docker.io/library/web:3"}) {
			t.Errorf("Get(%s) = %s %q, %v; want %s", ref, got.ID, got.Names, err, img.ID)
		}
	}
	for ref, kind := range map[string]fault.Kind{
		"web": fault.NotFound, "web:4": fault.NotFound, "sha256:": fault.NotFound, "sha256:xyz": fault.NotFound, "a b": fault.Invalid,
		"other@" + img.Target.Digest.String(): fault.NotFound, strings.Repeat("0", 64): fault.NotFound,
	} {
		if got, err := s.Get(t.Context(), ref); fault.Of(err) != kind {
			t.Errorf("Get(%s) = %v, %v; want %s", ref, got.Names, err, kind)
		}
	}
}

// blobCount is how many blobs there are.
func blobCount(t *testing.T, s *Store) int {
	t.Helper()
	n := 0
	if err := s.blobs.walk(t.Context(), func(digest.Digest, fs.FileInfo) error { n++; return nil }); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestRemoveDeletesWhatNobodyNames(t *testing.T) {
	s := openStore(t, Config{})
	img := addWeb(t, s, "web:3")
	if err := s.Tag(t.Context(), "web:3", "web:4"); err != nil {
		t.Fatal(err)
	}
	if err := s.Names(RegistryNames).Set("shop/web", img.Target); err != nil {
		t.Fatal(err)
	}
	all := blobCount(t, s)
	if err := s.Remove(t.Context(), "web:3"); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Get(t.Context(), "web:4"); err != nil || !slices.Equal(got.Names, []string{"docker.io/library/web:4"}) {
		t.Errorf("after removing one of two names: %q, %v", got.Names, err)
	}
	if err := s.Remove(t.Context(), img.ID.String()); err != nil {
		t.Fatal(err)
	}
	if images, _ := s.List(t.Context()); len(images) != 0 {
		t.Errorf("after removing by ID %d images are left", len(images))
	}
	if got := blobCount(t, s); got != all {
		t.Errorf("%d of %d blobs are left while the registry has a name for them", got, all)
	}
	if err := s.Names(RegistryNames).Delete("shop/web"); err != nil {
		t.Fatal(err)
	}
	freed, err := s.GC(t.Context())
	if err != nil || freed == 0 || blobCount(t, s) != 0 {
		t.Errorf("GC = %d, %v; %d blobs are left", freed, err, blobCount(t, s))
	}
	if err := s.Remove(t.Context(), "web:3"); fault.Of(err) != fault.NotFound {
		t.Errorf("Remove of an unknown image = %v, want not found", err)
	}
}

func TestRemoveOfTheLastTagTakesThePullsDigest(t *testing.T) {
	reg := newRegistry(t)
	reg.image(t, "web", "1", amd64, layer(t, file("a", "1")))
	s := reg.store(t)
	pull := func() Image {
		img, err := s.Pull(t.Context(), reg.host+"/web:1", PullOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return img
	}
	old := pull()
	reg.image(t, "web", "1", amd64, layer(t, file("a", "2")))
	if fresh := pull(); fresh.ID == old.ID {
		t.Fatal("the tag did not move")
	}
	if got, err := s.Get(t.Context(), old.ID.String()); err != nil || len(got.Names) != 0 || len(got.Digests) != 1 {
		t.Errorf("the image whose tag moved on = %q %q, %v; want it kept by its digest", got.Names, got.Digests, err)
	}
	if err := s.Remove(t.Context(), reg.host+"/web:1"); err != nil {
		t.Fatal(err)
	}
	images, _ := s.List(t.Context())
	if len(images) != 1 || images[0].ID != old.ID {
		t.Errorf("%d images are left, want only the one whose tag had moved on", len(images))
	}
}

func TestPinnedImagesStay(t *testing.T) {
	s := openStore(t, Config{})
	img, err := s.AddImage(t.Context(), "registry.local/edge:1", ocispec.Image{}, true, bytes.NewReader(layer(t, file("a", "1"))))
	if err != nil || !img.Pinned {
		t.Fatalf("AddImage = %+v, %v; want it pinned", img, err)
	}
	addWeb(t, s, "web")
	for _, ref := range []string{"registry.local/edge:1", img.ID.String()} {
		if err := s.Remove(t.Context(), ref); fault.Of(err) != fault.Precondition {
			t.Errorf("Remove(%s) = %v, want it refused", ref, err)
		}
	}
	if err := s.Tag(t.Context(), "web", "registry.local/edge:1"); fault.Of(err) != fault.Precondition {
		t.Errorf("Tag over a pinned name = %v, want it refused", err)
	}
	if _, err := s.GC(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Get(t.Context(), "registry.local/edge:1"); err != nil || got.ID != img.ID {
		t.Errorf("Get = %v, %v; want it still there", got.ID, err)
	}
	next, err := s.AddImage(t.Context(), "registry.local/edge:1", ocispec.Image{}, true, bytes.NewReader(layer(t, file("a", "2"))))
	if err != nil || next.ID == img.ID {
		t.Errorf("AddImage of the next version = %v, %v", next.ID, err)
	}
}

func TestCollectionSparesWhatIsInUse(t *testing.T) {
	s := openStore(t, Config{Keep: time.Hour})
	img := addWeb(t, s, "web:3")
	release, err := s.Hold(t.Context(), "web:3")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Remove(t.Context(), "web:3"); err != nil {
		t.Fatal(err)
	}
	if got := blobCount(t, s); got != 4 {
		t.Errorf("%d blobs of an image in use are left, want 4", got)
	}
	release()
	upload := func(content string) digest.Digest {
		w, err := s.Blobs().Create()
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(w, content)
		d := digest.FromString(content)
		if err := w.Commit(d); err != nil {
			t.Fatal(err)
		}
		return d
	}
	young, old := upload("young"), upload("old")
	path, err := s.blobs.path(old)
	if err != nil {
		t.Fatal(err)
	}
	past := time.Now().Add(-time.Second)
	if err := os.Chtimes(path, past, past); err != nil {
		t.Fatal(err)
	}
	w, err := s.Blobs().Create()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Cancel()
	for _, id := range []string{"up-forgotten", w.ID()} {
		path := filepath.Join(s.cfg.Root, "uploads", id)
		if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
		long := time.Now().Add(-2 * abandoned)
		if err := os.Chtimes(path, long, long); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.GC(t.Context()); err != nil {
		t.Fatal(err)
	}
	for d, there := range map[digest.Digest]bool{young: true, old: false, img.ID: false} {
		if _, err := s.Blobs().Stat(d); (err == nil) != there {
			t.Errorf("after collection Stat(%s) = %v, want it there: %t", d, err, there)
		}
	}
	uploads, _ := os.ReadDir(filepath.Join(s.cfg.Root, "uploads"))
	if len(uploads) != 1 || uploads[0].Name() != w.ID() {
		t.Errorf("uploads left: %v, want only the open one", uploads)
	}
	if err := s.Blobs().Keep(img.ID); !errors.Is(err, fault.NotFound) {
		t.Errorf("Keep of a blob that is gone = %v, want not found", err)
	}
}

func TestCollectionDuringAPullTakesNothingOfIt(t *testing.T) {
	reg := newRegistry(t)
	reg.image(t, "web", "1", amd64, layer(t, file("a", "1")), layer(t, file("b", noise(50000))))
	s := reg.store(t, func(cfg *Config) { cfg.Parallel = 1 })
	_, err := s.Pull(t.Context(), reg.host+"/web:1", PullOptions{Progress: func(p Progress) {
		if p.Step == "done" {
			if _, err := s.GC(t.Context()); err != nil {
				t.Error(err)
			}
		}
	}})
	if err != nil {
		t.Errorf("Pull with collection after each blob = %v", err)
	}
}

// What is nowhere else must not go when the disk fills up.
func TestAnImageHasAnOriginWhereARegistryHasIt(t *testing.T) {
	reg := newRegistry(t)
	reg.image(t, "web", "1", amd64, layer(t, file("a", "1")))
	s := reg.store(t)
	origin := func(ref string) bool {
		t.Helper()
		img, err := s.Get(t.Context(), ref)
		if err != nil {
			t.Fatal(err)
		}
		return img.Origin
	}
	made := addWeb(t, s, "registry.local/web:1")
	if origin("registry.local/web:1") {
		t.Error("an image that was made here has an origin")
	}
	served := s.Names(RegistryNames)
	if err := served.Set("web:1", made.Target); err != nil {
		t.Fatal(err)
	}
	if !origin("registry.local/web:1") {
		t.Error("an image that this node's registry serves has no origin")
	}
	if err := served.Delete("web:1"); err != nil {
		t.Fatal(err)
	}
	if origin("registry.local/web:1") {
		t.Error("an image that the registry has deleted has an origin")
	}
	pulled, err := s.Pull(t.Context(), reg.host+"/web:1", PullOptions{})
	if err != nil || !pulled.Origin {
		t.Errorf("a pulled image: origin %t, %v; want it to have one", pulled.Origin, err)
	}
}
