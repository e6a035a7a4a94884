package image

import "testing"

func TestDigestIsWhatANameLeadsToNow(t *testing.T) {
	reg := newRegistry(t)
	first := reg.image(t, "shop/web", "3", amd64, layer(t, file("v", "one")))
	s := reg.store(t)
	ref := reg.host + "/shop/web:3"
	digest := func(ref string) string {
		t.Helper()
		got, err := s.Digest(t.Context(), ref)
		if err != nil {
			t.Fatalf("Digest(%s): %v", ref, err)
		}
		return got
	}
	want := reg.host + "/shop/web@" + first.Digest.String()
	if got := digest(ref); got != want {
		t.Errorf("Digest(%s) before it was pulled = %s, want %s", ref, got, want)
	}
	if got := digest(want); got != want {
		t.Errorf("Digest(%s) = %s", want, got)
	}
	if _, err := s.Pull(t.Context(), ref, PullOptions{}); err != nil {
		t.Fatal(err)
	}
	// What is here counts: it is what a copy would run.
	moved := reg.image(t, "shop/web", "3", amd64, layer(t, file("v", "two")))
	if got := digest(ref); got != want {
		t.Errorf("Digest(%s) when it is here = %s, want %s", ref, got, want)
	}
	if _, err := s.Pull(t.Context(), ref, PullOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := digest(ref); got != reg.host+"/shop/web@"+moved.Digest.String() {
		t.Errorf("Digest(%s) when the tag has moved = %s, want that of the new one", ref, got)
	}
	if img, err := s.Get(t.Context(), want); err != nil {
		t.Errorf("the first by its digest: %v", err)
	} else if img.Manifest.Digest != first.Digest {
		t.Errorf("by its digest: %s, want %s", img.Manifest.Digest, first.Digest)
	}
	if _, err := s.Digest(t.Context(), reg.host+"/shop/none:1"); err == nil {
		t.Error("Digest of an image that is nowhere: no error")
	}
}
