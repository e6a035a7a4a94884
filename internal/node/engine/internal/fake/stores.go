package fake

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/sampan-cloud/sampan/internal/base/fault"
	"github.com/sampan-cloud/sampan/internal/node/image"
	"github.com/sampan-cloud/sampan/internal/node/network"
	"github.com/sampan-cloud/sampan/internal/node/snapshot"
)

// Network hands out addresses of 10.0.0.0/8.
type Network struct {
	NetNS    string // of every attachment; one that exists, unless a test sets another
	mu       sync.Mutex
	attached map[string]network.Attachment
	next     byte
	Pods     map[string]network.Pod
	FailWith error // of the next Attach
}

// NewNetwork returns a Network.
func NewNetwork() *Network {
	return &Network{NetNS: "/proc/self/ns/net", attached: map[string]network.Attachment{}, Pods: map[string]network.Pod{}}
}

// Attach gives a pod an address.
func (n *Network) Attach(_ context.Context, pod network.Pod) (network.Attachment, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.FailWith; err != nil {
		n.FailWith = nil
		return network.Attachment{}, err
	}
	if at, ok := n.attached[pod.ID]; ok {
		return at, nil
	}
	n.next++
	at := network.Attachment{NetNS: n.NetNS, Addr: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, 0, n.next}), 24)}
	n.attached[pod.ID], n.Pods[pod.ID] = at, pod
	return at, nil
}

// Detach takes it away.
func (n *Network) Detach(_ context.Context, id string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.attached, id)
	return nil
}

// Sweep takes away those of unknown pods.
func (n *Network) Sweep(_ context.Context, known []string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	maps.DeleteFunc(n.attached, func(id string, _ network.Attachment) bool { return !slices.Contains(known, id) })
	return nil
}

// Left tells which pods still have an address.
func (n *Network) Left() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Sorted(maps.Keys(n.attached))
}

// Snapshots keeps layers as directories.
type Snapshots struct {
	mu       sync.Mutex
	dir      string
	parents  map[string]string
	prepared map[string]snapshot.Mount
	Commits  int
}

// NewSnapshots returns one in a directory of the test's own.
func NewSnapshots(t testing.TB) *Snapshots {
	return &Snapshots{dir: t.TempDir(), parents: map[string]string{}, prepared: map[string]snapshot.Mount{}}
}

func (s *Snapshots) path(key string) string {
	return filepath.Join(s.dir, strings.ReplaceAll(key, ":", "-"))
}

func (s *Snapshots) lowers(top string) []string {
	var out []string
	for key := top; key != ""; key = s.parents[key] {
		out = append(out, s.path(key))
	}
	return out
}

// Commit fills a directory.
func (s *Snapshots) Commit(ctx context.Context, key, parent string, fill func(context.Context, string, []string) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.parents[key]; ok {
		return nil
	}
	if err := os.MkdirAll(s.path(key), 0o755); err != nil {
		return err
	}
	if err := fill(ctx, s.path(key), s.lowers(parent)); err != nil {
		return err
	}
	s.parents[key] = parent
	s.Commits++
	return nil
}

// CommitAhead fills a directory, one after the other.
func (s *Snapshots) CommitAhead(ctx context.Context, key, parent string, fill func(context.Context, string, func(context.Context) ([]string, error)) error) error {
	return s.Commit(ctx, key, parent, func(ctx context.Context, dir string, lowers []string) error {
		return fill(ctx, dir, func(context.Context) ([]string, error) { return lowers, nil })
	})
}

// Has tells whether a layer is there.
func (s *Snapshots) Has(_ context.Context, key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.parents[key]
	return ok
}

// Prepare names a filesystem.
func (s *Snapshots) Prepare(_ context.Context, name, parent string) (snapshot.Mount, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := snapshot.Mount{Base: s.dir, Lower: s.lowers(parent), Upper: s.path("upper-" + name), Work: s.path("work-" + name)}
	s.prepared[name] = m
	return m, nil
}

// View is Prepare without the writable part.
func (s *Snapshots) View(ctx context.Context, name, parent string) (snapshot.Mount, error) {
	m, err := s.Prepare(ctx, name, parent)
	m.Upper, m.Work = "", ""
	return m, err
}

// Remove forgets a filesystem.
func (s *Snapshots) Remove(_ context.Context, name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.prepared, name)
	return nil
}

// Usage tells of 4096 bytes in one file.
func (s *Snapshots) Usage(context.Context, string) (snapshot.Usage, error) {
	return snapshot.Usage{Time: time.Now(), Bytes: 4096, Inodes: 1}, nil
}

// Collect deletes what keep does not name.
func (s *Snapshots) Collect(_ context.Context, keep map[string]bool) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.parents, func(key, _ string) bool { return !keep[key] })
	return 0, nil
}

// Prepared lists them.
func (s *Snapshots) Prepared(context.Context) []string { return s.Left() }

// Left tells which filesystems are still prepared.
func (s *Snapshots) Left() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.prepared))
}

// Images has what Add put there.
type Images struct {
	mu     sync.Mutex
	images map[string]image.Image   // by ID
	files  map[digest.Digest][]file // by layer
	remote map[string]image.Image   // what Pull finds
	Auths  map[string]*image.Auth   // what Pull was given
}

type file struct{ name, text string }

// NewImages returns an empty store.
func NewImages() *Images {
	return &Images{
		images: map[string]image.Image{}, files: map[digest.Digest][]file{},
		remote: map[string]image.Image{}, Auths: map[string]*image.Auth{},
	}
}

// Add makes an image of one layer with the given files.
func (s *Images) Add(name string, cfg ocispec.ImageConfig, files map[string]string) image.Image {
	img := s.make(name, cfg, files)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.images[img.ID.String()] = img
	return img
}

// AddRemote makes an image that Pull finds.
func (s *Images) AddRemote(name string, cfg ocispec.ImageConfig, files map[string]string) image.Image {
	img := s.make(name, cfg, files)
	img.Origin = true
	s.mu.Lock()
	defer s.mu.Unlock()
	s.remote[name] = img
	return img
}

func (s *Images) make(name string, cfg ocispec.ImageConfig, files map[string]string) image.Image {
	layer := digest.FromString("layer of " + name)
	repo, _, _ := strings.Cut(name, ":")
	img := image.Image{
		ID: digest.FromString("config of " + name), Names: []string{name},
		Digests: []string{repo + "@" + digest.FromString("manifest of "+name).String()},
		Size:    int64(len(name)), Config: ocispec.Image{Config: cfg},
		Layers: []image.Layer{{Descriptor: ocispec.Descriptor{Digest: layer}, DiffID: layer, ChainID: layer}},
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for n, text := range files {
		s.files[layer] = append(s.files[layer], file{n, text})
	}
	return img
}

// Get finds an image.
func (s *Images) Get(_ context.Context, ref string) (image.Image, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, img := range s.images {
		if strings.HasPrefix(id, ref) || slices.Contains(img.Names, ref) || slices.Contains(img.Digests, ref) {
			return img, nil
		}
	}
	return image.Image{}, fmt.Errorf("image %s: %w", ref, fault.NotFound)
}

// List lists them.
func (s *Images) List(context.Context) ([]image.Image, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Values(s.images)), nil
}

// Pull finds what AddRemote made.
func (s *Images) Pull(_ context.Context, ref string, opt image.PullOptions) (image.Image, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Auths[ref] = opt.Auth
	img, ok := s.remote[ref]
	if !ok {
		return image.Image{}, fmt.Errorf("pull %s: %w", ref, fault.NotFound)
	}
	s.images[img.ID.String()] = img
	return img, nil
}

// Remove takes an image away.
func (s *Images) Remove(ctx context.Context, ref string) error {
	img, err := s.Get(ctx, ref)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.images, img.ID.String())
	return nil
}

// UnpackAhead writes a layer's files.
func (s *Images) UnpackAhead(_ context.Context, layer image.Layer, dir string, _ func(context.Context) ([]string, error)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.files[layer.Digest] {
		path := filepath.Join(dir, f.name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(f.text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// Usage tells of a thousand bytes.
func (s *Images) Usage(context.Context) (uint64, uint64, error) { return 1000, 10, nil }
