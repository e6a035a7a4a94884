package registry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/crane"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/sampan-cloud/sampan/internal/base/fault"
	"github.com/sampan-cloud/sampan/internal/node/image"
)

func TestWhoMayDoWhat(t *testing.T) {
	open := admin
	open.Anonymous = true
	for name, tt := range map[string]struct {
		access         Access
		user, password string
		pull, push     int // status, 0 for success
	}{
		"the admin may do all":                  {admin, "admin", "secret", 0, 0},
		"a wrong password nothing":              {admin, "admin", "guess", 401, 401},
		"another name nothing":                  {admin, "root", "secret", 401, 401},
		"nobody may pull by default":            {admin, "", "", 401, 401},
		"anybody may pull where that is set":    {open, "", "", 0, 401},
		"a wrong password is no anonymous pull": {open, "admin", "guess", 401, 401},
		"no password is no admin's":             {Admin{Credentials: Credentials{"admin", ""}}, "admin", "x", 401, 401},
		"who is known may be refused":           {only("shop/"), "bob", "x", 403, 403},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			n := serve(t, dir, admin)
			pushed(t, n, "web:1")
			n.stop()
			n = serve(t, dir, tt.access)
			_, err := crane.Digest(n.addr+"/web:1", n.as(tt.user, tt.password)...)
			expect(t, "pull", err, tt.pull)
			img, err := random.Image(10, 1)
			if err != nil {
				t.Fatal(err)
			}
			expect(t, "push", crane.Push(img, n.addr+"/web:2", n.as(tt.user, tt.password)...), tt.push)
		})
	}
}

func expect(t *testing.T, what string, err error, status int) {
	t.Helper()
	if status == 0 {
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
		return
	}
	var answer *transport.Error
	if !errors.As(err, &answer) || answer.StatusCode != status {
		t.Errorf("%s = %v, want status %d", what, err, status)
	}
}

// only is an Access that lets everyone with a name into repositories of one prefix.
type only string

func (o only) Check(_ context.Context, who Credentials, _ Action, repo string) error {
	switch {
	case who.Username == "":
		return fault.Unauthorized
	case repo != "" && !strings.HasPrefix(repo, string(o)):
		return fmt.Errorf("not yours: %w", fault.Forbidden)
	}
	return nil
}

func TestAMountDoesNotShowWhatMayNotBePulled(t *testing.T) {
	dir := t.TempDir()
	n := serve(t, dir, admin)
	layers, err := pushed(t, n, "private:1").Layers()
	if err != nil {
		t.Fatal(err)
	}
	n.stop()
	n = serve(t, dir, only("shop/"))
	d := digestOf(t, layers[0])
	if a := n.do("POST", "/v2/shop/x/blobs/uploads/?from=private&mount="+d, ""); a.status != http.StatusAccepted {
		t.Errorf("mount from a private repository = %d, want an upload", a.status)
	}
	if a := n.do("POST", "/v2/shop/x/blobs/uploads/?mount="+d, ""); a.status != http.StatusAccepted {
		t.Errorf("mount from anywhere = %d, want an upload", a.status)
	}
	if a := n.do("HEAD", "/v2/shop/x/blobs/"+d, ""); a.status != http.StatusNotFound {
		t.Errorf("the private blob = %d", a.status)
	}
}

func TestATakenPortIsSaid(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	quiet := slog.New(slog.DiscardHandler)
	store, err := image.Open(image.Config{Root: t.TempDir()}, quiet)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	r, err := New(Config{Root: t.TempDir(), Host: host, Listen: taken.Addr().String()}, store, admin, quiet)
	if err != nil {
		t.Fatal(err)
	}
	err = r.Run(t.Context(), func() { t.Error("ready was called") })
	if fault.Of(err) != fault.Precondition || !strings.Contains(err.Error(), taken.Addr().String()) {
		t.Errorf("Run = %v; want the address", err)
	}
}
