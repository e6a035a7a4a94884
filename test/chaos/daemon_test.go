package chaos

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/sampan-cloud/sampan/internal/base/run"
	"github.com/sampan-cloud/sampan/internal/node/container"
	"github.com/sampan-cloud/sampan/internal/node/container/cgroup"
	"github.com/sampan-cloud/sampan/internal/node/container/seccomp"
	"github.com/sampan-cloud/sampan/internal/node/engine"
	"github.com/sampan-cloud/sampan/internal/node/engine/cri"
	"github.com/sampan-cloud/sampan/internal/node/image"
	"github.com/sampan-cloud/sampan/internal/node/network"
	"github.com/sampan-cloud/sampan/internal/node/snapshot"
)

// envDaemon is the directory of the node whose daemon this process is to be.
const envDaemon = "SAMPAN_TEST_DAEMON"

const imageName = "say:1"

func TestMain(m *testing.M) {
	if dir := os.Getenv(envDaemon); dir != "" {
		fmt.Fprintln(os.Stderr, "daemon:", daemon(layout(dir)))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// layout is where a node has its things, by its directory.
type layout string

func (l layout) path(name string) string { return filepath.Join(string(l), name) }
func (l layout) keeper() string          { return l.path("sampan-keeper") }
func (l layout) say() string             { return l.path("say") }
func (l layout) socket() string          { return l.path("cri.sock") }
func (l layout) logs() string            { return l.path("logs") }
func (l layout) errors() string          { return l.path("daemon.log") }
func (l layout) engine() string          { return l.path("engine") }
func (l layout) snapshots() string       { return l.path("snapshots") }
func (l layout) cgroup() string          { return "/" + filepath.Base(string(l)) }

func (l layout) containers() (container.Config, error) {
	groups, err := cgroup.New(cgroup.Config{})
	return container.Config{Dir: l.path("run"), Keeper: l.keeper(), Cgroups: groups, KeeperCgroup: l.cgroup() + "-keeper"}, err
}

func (l layout) network() network.Config {
	return network.Config{
		Dir: l.path("network"), NSDir: l.path("netns"), Bridge: "sampan0", Table: "sampan",
		Prefix: netip.MustParsePrefix("10.42.0.0/16"), Pool: pool,
	}
}

// pool is how many pod networks wait ready.
const pool = 8

// daemon runs until it is killed.
func daemon(l layout) error {
	ctx := context.Background()
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	images, err := image.Open(image.Config{Root: l.path("images")}, log)
	if err != nil {
		return err
	}
	layers, err := snapshot.Open(snapshot.Config{Root: l.snapshots()}, log)
	if err != nil {
		return err
	}
	pods, err := network.Open(l.network(), log)
	if err != nil {
		return err
	}
	cfg, err := l.containers()
	if err != nil {
		return err
	}
	containers, err := container.Connect(ctx, cfg, log)
	if err != nil {
		return err
	}
	e, err := engine.Open(engine.Config{Dir: l.engine(), CgroupParent: l.cgroup()}, engine.Parts{
		Runtime: containers, Network: pods, Snapshots: layers, Images: images, Seccomp: seccomp.Default,
	}, log)
	if err != nil {
		return err
	}
	if err := addImage(ctx, l, images); err != nil {
		return err
	}
	group := run.Group{Parts: []run.Part{
		{Name: "network", Service: pods},
		{Name: "snapshots", Service: layers},
		{Name: "engine", Service: e},
		{Name: "cri", Service: cri.New(cri.Config{Socket: l.socket(), ImageDir: l.path("images")}, e, log)},
	}}
	return group.Run(ctx, func() {})
}

// addImage adds the image of the test's containers, unless an earlier daemon has.
func addImage(ctx context.Context, l layout, images *image.Store) error {
	if _, err := images.Get(ctx, imageName); err == nil {
		return nil
	}
	program, err := os.ReadFile(l.say())
	if err != nil {
		return err
	}
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	if err := w.WriteHeader(&tar.Header{Name: "say", Mode: 0o755, Size: int64(len(program)), Typeflag: tar.TypeReg}); err != nil {
		return err
	}
	if _, err := w.Write(program); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	_, err = images.AddImage(ctx, imageName, ocispec.Image{
		Platform: images.Platform(), Config: ocispec.ImageConfig{Entrypoint: []string{"/say"}},
	}, false, &layer)
	return err
}
