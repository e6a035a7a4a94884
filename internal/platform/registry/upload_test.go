package registry

import (
	"net/http"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
)

func TestAnUploadGoesOnAfterTheRegistryWasKilled(t *testing.T) {
	dir := t.TempDir()
	n := serve(t, dir, admin)
	blob := strings.Repeat("0123456789", 1000)
	at := n.do("POST", "/v2/web/blobs/uploads/", "").header.Get("Location")
	a := n.do("PATCH", at, blob[:6000], "Content-Range: 0-5999", "Content-Type: application/octet-stream")
	if a.status != http.StatusAccepted || a.header.Get("Range") != "0-5999" {
		t.Fatalf("PATCH = %d %s %v", a.status, a.body, a.header)
	}
	at = a.header.Get("Location")
	n.stop()

	n = serve(t, dir, admin)
	a = n.do("GET", at, "")
	if a.status != http.StatusNoContent || a.header.Get("Range") != "0-5999" {
		t.Fatalf("GET upload = %d %s %v", a.status, a.body, a.header)
	}
	if a = n.do("PATCH", at, blob[6000:], "Content-Range: 6000-9999"); a.status != http.StatusAccepted {
		t.Fatalf("PATCH = %d %s", a.status, a.body)
	}
	d := digest.FromString(blob).String()
	if a = n.do("PUT", a.header.Get("Location")+"?digest="+d, ""); a.status != http.StatusCreated {
		t.Fatalf("PUT = %d %s", a.status, a.body)
	}
	if a = n.do("GET", "/v2/web/blobs/"+d, ""); a.body != blob {
		t.Errorf("the blob has %d bytes, want those sent", len(a.body))
	}
}

// The timer and the next request race for an upload; one of them gets it.
func TestAParkedUploadIsTakenOnce(t *testing.T) {
	n := start(t)
	w, err := n.store.Blobs().Create()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	var p parked
	if err := p.put(w); err != nil {
		t.Fatal(err)
	}
	if got := p.take(w.ID()); got != w {
		t.Errorf("take = %v, want the upload", got)
	}
	if got := p.take(w.ID()); got != nil {
		t.Errorf("take again = %v", got)
	}
	if err := p.put(w); err != nil {
		t.Fatal(err)
	}
	p.close()
	again, err := n.store.Blobs().Resume(w.ID())
	if err != nil || again.Offset() != 5 {
		t.Fatalf("Resume after close = %v", err)
	}
	p.put(again) // closed: nothing may stay open
	if last, err := n.store.Blobs().Resume(w.ID()); err != nil {
		t.Errorf("an upload put after close is still open: %v", err)
	} else if err := last.Cancel(); err != nil {
		t.Error(err)
	}
}

func TestUploadsThatAreRefused(t *testing.T) {
	n := start(t)
	begin := func() string { return n.do("POST", "/v2/web/blobs/uploads/", "").header.Get("Location") }
	good := digest.FromString("hello").String()
	for name, tt := range map[string]struct {
		do     func() answer
		status int
		code   string
	}{
		"a chunk out of order": {func() answer {
			at := begin()
			n.do("PATCH", at, "hello", "Content-Range: 0-4")
			return n.do("PATCH", at, "hello", "Content-Range: 9-13")
		}, http.StatusRequestedRangeNotSatisfiable, "RANGE_INVALID"},
		"the first chunk again": {func() answer {
			at := begin()
			n.do("PATCH", at, "hello", "Content-Range: 0-4")
			return n.do("PATCH", at, "hello", "Content-Range: 0-4")
		}, http.StatusRequestedRangeNotSatisfiable, "RANGE_INVALID"},
		"another digest": {func() answer { return n.do("PUT", begin()+"?digest="+good, "other") }, http.StatusBadRequest, "DIGEST_INVALID"},
		"another digest in one request": {func() answer { return n.do("POST", "/v2/web/blobs/uploads/?digest="+good, "other") },
			http.StatusBadRequest, "DIGEST_INVALID"},
		"an unknown upload": {func() answer { return n.do("PATCH", "/v2/web/blobs/uploads/dXAtbm9uZQ", "x") }, http.StatusNotFound, "BLOB_UPLOAD_UNKNOWN"},
		"an upload that escapes": {func() answer { return n.do("PATCH", "/v2/web/blobs/uploads/Li4vLi4vZXRjL3Bhc3N3ZA", "x") },
			http.StatusNotFound, "BLOB_UPLOAD_UNKNOWN"},
		"a cancelled upload": {func() answer {
			at := begin()
			if a := n.do("DELETE", at, ""); a.status != http.StatusNoContent {
				t.Errorf("DELETE = %d %s", a.status, a.body)
			}
			return n.do("PATCH", at, "x")
		}, http.StatusNotFound, "BLOB_UPLOAD_UNKNOWN"},
		"a bad repository": {func() answer { return n.do("POST", "/v2/UPPER/blobs/uploads/", "") }, http.StatusBadRequest, "NAME_INVALID"},
		"a manifest whose blobs are missing": {func() answer {
			return n.do("PUT", "/v2/web/manifests/1", `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"digest":"`+good+`"}}`)
		}, http.StatusNotFound, "MANIFEST_BLOB_UNKNOWN"},
		"a manifest that is not JSON": {func() answer {
			return n.do("PUT", "/v2/web/manifests/1", "hello", "Content-Type: application/vnd.oci.image.manifest.v1+json")
		},
			http.StatusBadRequest, "MANIFEST_INVALID"},
		"a manifest of another type than said": {func() answer {
			return n.do("PUT", "/v2/web/manifests/1", `{"mediaType":"application/vnd.oci.image.manifest.v1+json"}`, "Content-Type: application/vnd.oci.image.index.v1+json")
		}, http.StatusBadRequest, "MANIFEST_INVALID"},
		"a manifest under another digest": {func() answer { return n.do("PUT", "/v2/web/manifests/"+good, "{}") }, http.StatusBadRequest, "DIGEST_INVALID"},
		"a manifest that is too large":    {func() answer { return n.do("PUT", "/v2/web/manifests/1", strings.Repeat(" ", 5<<20)) }, http.StatusRequestEntityTooLarge, "UNKNOWN"},
	} {
		t.Run(name, func(t *testing.T) {
			a := tt.do()
			if a.status != tt.status || !strings.Contains(a.body, `{"errors":[{"code":"`+tt.code+`"`) {
				t.Errorf("%d %s, want %d %s", a.status, a.body, tt.status, tt.code)
			}
		})
	}
}
