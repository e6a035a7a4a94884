// Package debian builds container images from Debian packages.
//
// A package's dependencies are resolved and downloaded by the machine's own
// apt, which checks signatures, but against a private, empty state: nothing
// counts as installed and nothing is installed. The files of the packages are
// laid into one layer. No maintainer script runs; what the scripts of common
// packages do that a container needs is done here instead: users and groups,
// alternatives, certificates, log files of servers (setup.go, servers.go).
//
// The same packages give the same bytes: entries are sorted, owners are
// numbers, times do not exceed the newest package's, and nothing of the building
// machine goes in.
package debian

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// Options say what to build. Packages and Cache are required.
type Options struct {
	Name     string   // the image's title
	Packages []string // names, each with an optional =version
	Cache    string   // directory for downloads, kept between builds

	Sources string // an apt sources file instead of the machine's
	Docs    bool   // keep manuals, documentation and translations
	NoShell bool   // no busybox for what the packages do not bring

	Entrypoint []string // these replace what is known of the packages
	Cmd        []string
	User       string
	WorkDir    string
	Env        []string // added to PATH
	Ports      []string // as in 80/tcp
	Labels     map[string]string

	Epoch    time.Time // no file is newer; zero means the newest file's own time
	Progress func(Progress)
}

// Progress is how far a build is.
type Progress struct {
	Step    string // connect, update, resolve, download, unpack, write
	Package string // with unpack; with connect, update and download what apt asks for
	Done    int    // packages, with download and unpack
	Total   int    // packages, with download and unpack
}

// Package is a package that went into an image.
type Package struct {
	Name, Version, Arch string

	file    string // its .deb
	control string // its control paragraph
}

// Image is what Build made: one layer, as a tar file, and the configuration
// that goes with it. Close deletes the file.
type Image struct {
	Config   ocispec.Image
	Layer    string        // path of the uncompressed tar
	DiffID   digest.Digest // of it
	Size     int64
	Packages []Package

	work work
}

// Close deletes the layer's file.
func (m *Image) Close() error { return m.work.end() }

// packageName is what apt may be given: never an option, a path, a pattern or
// "name-", which asks for removal.
var packageName = regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]*[a-z0-9+](=[A-Za-z0-9.+:~-]+)?$`)

// Build makes an image of packages and what they depend on. A failure leaves
// nothing but whole downloads in the cache.
func Build(ctx context.Context, opt Options) (*Image, error) {
	m, err := build(ctx, opt)
	if err != nil {
		return nil, fmt.Errorf("build image %s from packages: %w", opt.Name, err)
	}
	return m, nil
}

func build(ctx context.Context, opt Options) (_ *Image, err error) {
	if len(opt.Packages) == 0 {
		return nil, fmt.Errorf("no package named: %w", fault.Invalid)
	}
	for _, name := range opt.Packages {
		if !packageName.MatchString(name) {
			return nil, fmt.Errorf("%q is not a package's name: %w", name, fault.Invalid)
		}
	}
	if opt.Progress == nil {
		opt.Progress = func(Progress) {}
	}
	cache, err := filepath.Abs(opt.Cache)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return nil, err
	}
	w, err := begin(cache)
	if err != nil {
		return nil, err
	}
	m := &Image{work: w, Layer: filepath.Join(w.dir, "layer.tar")}
	defer func() {
		if err != nil {
			err = errors.Join(err, m.Close())
		}
	}()
	a := newApt(cache, opt.Sources, opt.Progress)
	var got packages
	err = alone(ctx, cache, func() (err error) {
		got, err = a.get(ctx, wanted(opt))
		return err
	})
	if err != nil {
		return nil, err
	}
	t, err := newTree(w.dir)
	if err != nil {
		return nil, err
	}
	defer t.close()
	if err := assemble(ctx, t, got, opt); err != nil {
		return nil, err
	}
	opt.Progress(Progress{Step: "write"})
	epoch := opt.Epoch
	if epoch.IsZero() {
		epoch = t.newest
	}
	if m.DiffID, m.Size, err = t.write(ctx, m.Layer, epoch); err != nil {
		return nil, err
	}
	m.Packages = got.installed
	m.Config = config(opt, m, epoch)
	return m, nil
}

// wanted are the packages to ask for. Busybox is the shell of images that do
// not bring one: a container nobody can look into is hard to help.
func wanted(opt Options) []string {
	if opt.NoShell || slices.ContainsFunc(opt.Packages, func(p string) bool { return strings.HasPrefix(p, "busybox") }) {
		return opt.Packages
	}
	return append(slices.Clone(opt.Packages), "busybox")
}

// assemble lays the files of all packages into t and sets them up.
func assemble(ctx context.Context, t *tree, got packages, opt Options) error {
	t.skeleton()
	all := slices.Concat(got.base, got.installed)
	scripts := make([]script, 0, len(all))
	for i, p := range all {
		opt.Progress(Progress{Step: "unpack", Package: p.Name, Done: i, Total: len(all)})
		if err := t.unpack(ctx, p.file, keeps(p.Name, opt.Docs)); err != nil {
			return fmt.Errorf("unpack %s %s: %w", p.Name, p.Version, err)
		}
		s, err := postinst(ctx, p.file)
		if err != nil {
			return fmt.Errorf("read the scripts of %s %s: %w", p.Name, p.Version, err)
		}
		scripts = append(scripts, s)
	}
	return setUp(t, got, scripts)
}
