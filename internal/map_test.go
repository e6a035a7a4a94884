package internal

import (
	"bufio"
	"encoding/json"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/sampan-cloud/sampan/"

// floors from the bottom up. A package may import from lower floors only.
var floors = []string{"base", "node", "cluster", "platform", "front", "app"}

// doors are the only packages that may import what is behind them, so that a
// heavy dependency stays replaceable and does not creep into small programs.
var doors = map[string][]string{
	"k8s.io/kubernetes/":            {"internal/cluster/kube"},
	"go.etcd.io/etcd/server/":       {"internal/cluster/kube"},
	"k8s.io/kubectl/":               {"internal/cluster/kube", "internal/cluster/kubectl"},
	"github.com/coredns/":           {"internal/platform/gateway/dns"},
	"github.com/caddyserver/caddy/": {"internal/platform/gateway", "test/bench/caddy"}, // the second is a peer
	"github.com/compose-spec/":      {"internal/front/compose", "internal/app"},
}

// light are the programs that start in milliseconds or stay with every
// container, and what may therefore not be linked into them, however far below.
var light = map[string][]string{
	"cmd/sampan":        {"k8s.io/", "github.com/containerd/", "google.golang.org/grpc", "github.com/vishvananda/", "github.com/google/go-containerregistry/"},
	"cmd/sampan-keeper": {"k8s.io/", "github.com/containerd/", "google.golang.org/", "net/http", "github.com/vishvananda/"},
}

type pkg struct {
	ImportPath string
	Doc        string
	Imports    []string
	Deps       []string
}

func list(t *testing.T, patterns ...string) []pkg {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-json=ImportPath,Doc,Imports,Deps"}, patterns...)...)
	cmd.Dir = ".."
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list %v: %v: %s", patterns, err, stderr.String())
	}
	var ps []pkg
	for d := json.NewDecoder(strings.NewReader(string(out))); d.More(); {
		var p pkg
		if err := d.Decode(&p); err != nil {
			t.Fatal(err)
		}
		ps = append(ps, p)
	}
	return ps
}

// drawn returns the packages that the map in doc.go names, with their sentences.
func drawn(t *testing.T) map[string]string {
	t.Helper()
	m := map[string]string{}
	out, err := exec.Command("go", "doc", "-all", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	for s := bufio.NewScanner(strings.NewReader(string(out))); s.Scan(); {
		name, sentence, ok := strings.Cut(strings.TrimSpace(s.Text()), " ")
		if ok && strings.HasPrefix(s.Text(), "    ") && slices.Contains(floors, strings.Split(name, "/")[0]) {
			m[name] = strings.TrimSpace(sentence)
		}
	}
	return m
}

func TestTheMapNamesEveryPackage(t *testing.T) {
	m := drawn(t)
	for _, p := range list(t, "./internal/...") {
		name := strings.TrimPrefix(p.ImportPath, module+"internal/")
		if name == p.ImportPath || strings.Contains(name, "/internal/") {
			continue // the house itself, or a private part of a room
		}
		if m[name] == "" {
			t.Errorf("%s is not in the map in doc.go", name)
		}
		delete(m, name)
	}
	for name := range m {
		t.Errorf("%s is in the map in doc.go and not in the code", name)
	}
}

func TestEveryPackageSaysWhatItIsFor(t *testing.T) {
	for _, p := range list(t, "./...") {
		if p.Doc == "" {
			t.Errorf("%s has no package comment", p.ImportPath)
		}
	}
}

func TestPackagesImportOnlyFromFloorsBelow(t *testing.T) {
	for _, p := range list(t, "./internal/...", "./api/...") {
		from := strings.TrimPrefix(p.ImportPath, module)
		for _, i := range p.Imports {
			to, ours := strings.CutPrefix(i, module)
			if ours && !allowed(from, to) {
				t.Errorf("%s imports %s", from, to)
			}
		}
	}
}

// allowed tells whether the package from may import the package to.
func allowed(from, to string) bool {
	if strings.HasPrefix(from, "api/") {
		return strings.HasPrefix(to, "api/") || strings.HasPrefix(to, "internal/base/")
	}
	if strings.HasPrefix(to, "api/") {
		return true
	}
	a, b := strings.Split(from, "/")[1:], strings.Split(to, "/")[1:]
	high, low := slices.Index(floors, a[0]), slices.Index(floors, b[0])
	switch {
	case a[0] == "front":
		return low == 0 || b[0] == "front" // front sees only the API, and its own floor's helpers
	case high != low:
		return low < high
	case a[0] == "app":
		return true
	}
	// One floor: rooms within one house, or the engine on its four neighbours.
	return a[1] == b[1] || a[0] == "node" && a[1] == "engine"
}

func TestHeavyDependenciesHaveOneDoor(t *testing.T) {
	for _, p := range list(t, "./...") {
		from := strings.TrimPrefix(p.ImportPath, module)
		for _, i := range p.Imports {
			for behind, door := range doors {
				if strings.HasPrefix(i, behind) && !slices.ContainsFunc(door, func(d string) bool { return from == d || strings.HasPrefix(from, d+"/") }) {
					t.Errorf("%s imports %s; its doors are %v", from, i, door)
				}
			}
		}
	}
}

func TestLightProgramsStayLight(t *testing.T) {
	for cmd, banned := range light {
		for _, p := range list(t, "./"+cmd) {
			for _, d := range p.Deps {
				for _, b := range banned {
					if strings.HasPrefix(d, b) {
						t.Errorf("%s links %s", cmd, d)
					}
				}
			}
		}
	}
}
