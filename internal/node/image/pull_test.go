package image

import (
	"os"
	"path/filepath"
	"testing"
)

func TestPullAndUnpack(t *testing.T) {
	reg := newRegistry(t)
	reg.image(t, "shop/web", "3", amd64, layer(t, directory("etc"), file("etc/motd", "hello")), layer(t, file("etc/more", "x")))
	s := reg.store(t)
	ref := reg.host + "/shop/web:3"
	img, err := s.Pull(t.Context(), ref, PullOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(img.Names) != 1 || img.Names[0] != ref || len(img.Digests) != 1 || len(img.Layers) != 2 {
		t.Errorf("Pull(%s) = %+v, want one name, one digest, two layers", ref, img)
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
