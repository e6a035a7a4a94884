package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/crane"
	"github.com/google/go-containerregistry/pkg/v1/random"
)

// A stock client pushes and pulls; what it pushed is present on the node at once.
func TestRegistryServesStockClients(t *testing.T) {
	h := shared(t)
	ca, err := os.ReadFile(h.data("kube", "pki", "ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	password, err := os.ReadFile(h.data("registry", "password"))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	transport := crane.WithTransport(&http.Transport{DialContext: h.dial, TLSClientConfig: &tls.Config{RootCAs: pool}})
	admin := crane.WithAuth(&authn.Basic{Username: "admin", Password: strings.TrimSpace(string(password))})
	host := h.addr + ":5000/"

	archive, err := stage.toolbox()
	if err != nil {
		t.Fatal(err)
	}
	img, err := crane.Load(archive)
	if err != nil {
		t.Fatal(err)
	}
	if err := crane.Push(img, host+"stock/toolbox:1", transport); err == nil {
		t.Error("a push without a credential was accepted")
	}
	wrong := crane.WithAuth(&authn.Basic{Username: "admin", Password: "guess"})
	if err := crane.Push(img, host+"stock/toolbox:1", transport, wrong); err == nil {
		t.Error("a push with a wrong credential was accepted")
	}
	if err := crane.Push(img, host+"stock/toolbox:1", transport, admin); err != nil {
		t.Fatalf("push: %v", err)
	}
	if out := h.must(t, "run", "--rm", "registry.local/stock/toolbox:1", "echo", "pushed"); out != "pushed\n" {
		t.Errorf("the pushed image printed %q", out)
	}
	back, err := crane.Pull(host+"stock/toolbox:1", transport)
	if err != nil {
		t.Fatalf("pull: %v", err)
	}
	want, _ := img.ConfigName()
	if got, err := back.ConfigName(); err != nil || got != want {
		t.Errorf("pulled image %v, %v; want %v", got, err, want)
	}
	tags, err := crane.ListTags(host+"stock/toolbox", transport, admin)
	if err != nil || strings.Join(tags, " ") != "1" {
		t.Errorf("tags: %v, %v; want 1", tags, err)
	}

	// A large image of layers that nobody has seen.
	big, err := random.Image(4<<20, 5)
	if err != nil {
		t.Fatal(err)
	}
	if err := crane.Push(big, host+"stock/big:1", transport, admin); err != nil {
		t.Fatalf("push five layers: %v", err)
	}
	if out := h.must(t, "image", "pull", "registry.local/stock/big:1"); !strings.Contains(out, "registry.local/stock/big:1") {
		t.Errorf("image pull printed %q", out)
	}
}
