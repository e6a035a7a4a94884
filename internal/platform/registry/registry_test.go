package registry

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/crane"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	"github.com/opencontainers/go-digest"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// pushed pushes an image with a stock client.
func pushed(t *testing.T, n *node, name string) v1.Image {
	t.Helper()
	img, err := random.Image(10_000, 2)
	if err != nil {
		t.Fatal(err)
	}
	img, err = mutate.ConfigFile(img, platform(t, img, n))
	if err != nil {
		t.Fatal(err)
	}
	if err := crane.Push(img, n.addr+"/"+name, n.client()...); err != nil {
		t.Fatalf("push %s: %v", name, err)
	}
	return img
}

func platform(t *testing.T, img v1.Image, n *node) *v1.ConfigFile {
	t.Helper()
	c, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	c = c.DeepCopy()
	c.OS, c.Architecture = n.store.Platform().OS, n.store.Platform().Architecture
	return c
}

func digestOf(t *testing.T, img interface{ Digest() (v1.Hash, error) }) string {
	t.Helper()
	d, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return d.String()
}

func TestAPushedImageIsPresentOnTheNodeAndCanBePulled(t *testing.T) {
	n := start(t)
	img := pushed(t, n, "shop/web:3")
	local, err := n.store.Get(t.Context(), host+"/shop/web:3")
	if err != nil || local.Manifest.Digest.String() != digestOf(t, img) {
		t.Errorf("on the node: %s, %v; want %s", local.Manifest.Digest, err, digestOf(t, img))
	}
	if _, err := n.store.GC(t.Context()); err != nil {
		t.Fatal(err)
	}
	back, err := crane.Pull(n.addr+"/shop/web:3", n.client()...)
	if err != nil {
		t.Fatalf("pull: %v", err)
	}
	if err := validate.Image(back); err != nil {
		t.Errorf("the pulled image: %v", err)
	}
	if got, want := digestOf(t, back), digestOf(t, img); got != want {
		t.Errorf("pulled %s, pushed %s", got, want)
	}
}

func TestAnIndexIsPushedWithItsImages(t *testing.T) {
	n := start(t)
	img, err := random.Image(100, 1)
	if err != nil {
		t.Fatal(err)
	}
	if img, err = mutate.ConfigFile(img, platform(t, img, n)); err != nil {
		t.Fatal(err)
	}
	p := n.store.Platform()
	index := mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: p.OS, Architecture: p.Architecture}}})
	repo := n.addr + "/multi"
	if err := crane.Push(img, repo+":one", n.client()...); err != nil {
		t.Fatal(err)
	}
	raw, err := index.RawManifest()
	if err != nil {
		t.Fatal(err)
	}
	if a := n.do("PUT", "/v2/multi/manifests/all", string(raw), "Content-Type: application/vnd.oci.image.index.v1+json"); a.status != http.StatusCreated {
		t.Fatalf("PUT index = %d %s", a.status, a.body)
	}
	local, err := n.store.Get(t.Context(), host+"/multi:all")
	if err != nil || local.Manifest.Digest.String() != digestOf(t, img) || local.Target.Digest.String() != digestOf(t, index) {
		t.Errorf("on the node: %+v, %v", local, err)
	}
}

func TestTagsAndRepositoriesAreListedInPages(t *testing.T) {
	n := start(t)
	pushed(t, n, "shop/web:a")
	for _, tag := range []string{"b", "c", "d"} {
		if err := crane.Tag(n.addr+"/shop/web:a", tag, n.client()...); err != nil {
			t.Fatal(err)
		}
	}
	pushed(t, n, "shop/db:1")
	tags, err := crane.ListTags(n.addr+"/shop/web", n.client()...)
	if err != nil || !slices.Equal(tags, []string{"a", "b", "c", "d"}) {
		t.Errorf("tags = %v, %v", tags, err)
	}
	repos, err := crane.Catalog(n.addr, n.client()...)
	if err != nil || !slices.Equal(repos, []string{"shop/db", "shop/web"}) {
		t.Errorf("catalog = %v, %v", repos, err)
	}
	for path, want := range map[string]string{
		"/v2/shop/web/tags/list?n=2":        `{"name":"shop/web","tags":["a","b"]}`,
		"/v2/shop/web/tags/list?n=2&last=b": `{"name":"shop/web","tags":["c","d"]}`,
		"/v2/shop/web/tags/list?n=0":        `{"name":"shop/web","tags":[]}`,
		"/v2/shop/web/tags/list?last=bb":    `{"name":"shop/web","tags":["c","d"]}`,
		"/v2/_catalog?n=1":                  `{"repositories":["shop/db"]}`,
	} {
		a := n.do("GET", path, "")
		if strings.TrimSpace(a.body) != want || a.header.Get("Content-Type") != "application/json" {
			t.Errorf("GET %s = %s (%s), want %s", path, a.body, a.header.Get("Content-Type"), want)
		}
	}
	if link := n.do("GET", "/v2/shop/web/tags/list?n=2", "").header.Get("Link"); link != `</v2/shop/web/tags/list?last=b&n=2>; rel="next"` {
		t.Errorf("Link = %q", link)
	}
	if a := n.do("GET", "/v2/nope/tags/list", ""); a.status != http.StatusNotFound || !strings.Contains(a.body, "NAME_UNKNOWN") {
		t.Errorf("tags of an unknown repository = %d %s", a.status, a.body)
	}
}

func TestAManifestIsPushedUnderManyTagsAtOnce(t *testing.T) {
	n := start(t)
	img := pushed(t, n, "web:1")
	raw, err := img.RawManifest()
	if err != nil {
		t.Fatal(err)
	}
	kind, err := img.MediaType()
	if err != nil {
		t.Fatal(err)
	}
	a := n.do("PUT", "/v2/web/manifests/"+digestOf(t, img)+"?tag=1.2&tag=latest", string(raw), "Content-Type: "+string(kind))
	if got := a.header.Values("OCI-Tag"); a.status != http.StatusCreated || !slices.Equal(got, []string{"1.2", "latest"}) {
		t.Errorf("PUT = %d %s, tags %v", a.status, a.body, got)
	}
	for _, tag := range []string{"1.2", "latest"} {
		if got, err := crane.Digest(n.addr+"/web:"+tag, n.client()...); err != nil || got != digestOf(t, img) {
			t.Errorf("tag %s = %s, %v", tag, got, err)
		}
		if _, err := n.store.Get(t.Context(), host+"/web:"+tag); err != nil {
			t.Errorf("on the node: %v", err)
		}
	}
	if a := n.do("PUT", "/v2/web/manifests/"+digestOf(t, img)+"?tag=..", string(raw), "Content-Type: "+string(kind)); a.status != http.StatusBadRequest {
		t.Errorf("PUT with a bad tag = %d %s", a.status, a.body)
	}
}

func TestDeletingATagKeepsTheManifestAndDeletingThatTakesItsTags(t *testing.T) {
	n := start(t)
	img := pushed(t, n, "web:1")
	if err := crane.Tag(n.addr+"/web:1", "2", n.client()...); err != nil {
		t.Fatal(err)
	}
	if err := crane.Delete(n.addr+"/web:1", n.client()...); err != nil {
		t.Errorf("delete tag: %v", err)
	}
	if _, err := crane.Digest(n.addr+"/web:2", n.client()...); err != nil {
		t.Errorf("the other tag: %v", err)
	}
	if err := crane.Delete(n.addr+"/web@"+digestOf(t, img), n.client()...); err != nil {
		t.Errorf("delete manifest: %v", err)
	}
	for _, ref := range []string{"web:1", "web:2", "web@" + digestOf(t, img)} {
		_, err := crane.Manifest(n.addr+"/"+ref, n.client()...)
		var answer *transport.Error
		if !errors.As(err, &answer) || answer.StatusCode != http.StatusNotFound || answer.Errors[0].Code != transport.ManifestUnknownErrorCode {
			t.Errorf("manifest of %s after deletion: %v", ref, err)
		}
	}
	if a := n.do("DELETE", "/v2/web/manifests/1", ""); a.status != http.StatusNotFound {
		t.Errorf("deleting again = %d %s", a.status, a.body)
	}
}

func TestABlobBelongsToTheRepositoriesThatItWasPushedOrMountedTo(t *testing.T) {
	n := start(t)
	img := pushed(t, n, "one:1")
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	d := digestOf(t, layers[0])
	if a := n.do("HEAD", "/v2/two/blobs/"+d, ""); a.status != http.StatusNotFound {
		t.Errorf("blob in another repository = %d", a.status)
	}
	if a := n.do("POST", "/v2/two/blobs/uploads/?from=three&mount="+d, ""); a.status != http.StatusAccepted || a.header.Get("Location") == "" {
		t.Errorf("mount from where it is not = %d, want an upload instead", a.status)
	}
	if a := n.do("POST", "/v2/two/blobs/uploads/?from=one&mount="+d, ""); a.status != http.StatusCreated || a.header.Get("Location") != "/v2/two/blobs/"+d {
		t.Errorf("mount = %d %v", a.status, a.header)
	}
	if a := n.do("GET", "/v2/two/blobs/"+d, "", "Range: bytes=10-19"); a.status != http.StatusPartialContent || len(a.body) != 10 {
		t.Errorf("range of a mounted blob = %d, %d bytes", a.status, len(a.body))
	}
	if a := n.do("GET", "/v2/two/blobs/"+d, "", "Range: bytes=-7"); a.status != http.StatusPartialContent || len(a.body) != 7 {
		t.Errorf("the last bytes of a blob = %d, %d bytes", a.status, len(a.body))
	}
	if a := n.do("POST", "/v2/four/blobs/uploads/?mount="+d, ""); a.status != http.StatusCreated {
		t.Errorf("mount from anywhere = %d", a.status)
	}
	if a := n.do("DELETE", "/v2/two/blobs/"+d, ""); a.status != http.StatusAccepted {
		t.Errorf("delete = %d", a.status)
	}
	if a := n.do("HEAD", "/v2/two/blobs/"+d, ""); a.status != http.StatusNotFound {
		t.Errorf("deleted blob = %d", a.status)
	}
	if a := n.do("HEAD", "/v2/one/blobs/"+d, ""); a.status != http.StatusOK {
		t.Errorf("the other repository's blob = %d", a.status)
	}
}

func TestWhatRefersToAManifestIsListed(t *testing.T) {
	n := start(t)
	img := pushed(t, n, "web:1")
	config := `{}`
	d := digest.FromString(config)
	if a := n.do("POST", "/v2/web/blobs/uploads/?digest="+d.String(), config); a.status != http.StatusCreated {
		t.Fatalf("push config = %d %s", a.status, a.body)
	}
	for _, kind := range []string{"application/sig", "application/sbom"} {
		manifest := fmt.Sprintf(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","artifactType":%q,"config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":%q,"size":2},"layers":[],"annotations":{"a":"b"},`+
			`"subject":{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":%q,"size":1}}`, kind, d, digestOf(t, img))
		a := n.do("PUT", "/v2/web/manifests/"+digest.FromString(manifest).String(), manifest, "Content-Type: application/vnd.oci.image.manifest.v1+json")
		if a.status != http.StatusCreated || a.header.Get("OCI-Subject") != digestOf(t, img) {
			t.Fatalf("PUT = %d %s %v", a.status, a.body, a.header)
		}
	}
	for query, want := range map[string]int{"": 2, "?artifactType=application/sig": 1, "?artifactType=none": 0} {
		a := n.do("GET", "/v2/web/referrers/"+digestOf(t, img)+query, "")
		if got := strings.Count(a.body, `"artifactType"`); a.status != http.StatusOK || got != want || !strings.Contains(a.body, `"manifests":[`) {
			t.Errorf("referrers%s = %d %s, want %d", query, a.status, a.body, want)
		}
	}
	if _, err := n.store.Get(t.Context(), host+"/web@"+digest.FromString("x").String()); fault.Of(err) != fault.NotFound {
		t.Errorf("Get = %v", err)
	}
	all, err := n.store.List(t.Context())
	if err != nil || len(all) != 1 {
		t.Errorf("the node has %d images, %v; want the one image and no artifacts", len(all), err)
	}
}
