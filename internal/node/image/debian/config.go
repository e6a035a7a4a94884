package debian

import (
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// PackagesLabel lists the packages of an image with their versions.
const PackagesLabel = "cloud.sampan.debian.packages"

// config is the image's configuration: what the options say, else what is known
// of the packages, else a shell.
func config(opt Options, m *Image, epoch time.Time) ocispec.Image {
	known := serverOf(opt.Packages)
	c := ocispec.ImageConfig{
		User:       opt.User,
		WorkingDir: opt.WorkDir,
		Env:        append([]string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}, opt.Env...),
		Entrypoint: opt.Entrypoint,
		Cmd:        opt.Cmd,
		StopSignal: known.stop,
		Labels:     labels(opt, m, epoch),
	}
	if len(c.Entrypoint) == 0 && len(c.Cmd) == 0 {
		c.Cmd = known.cmd
	}
	ports := opt.Ports
	if len(ports) == 0 {
		ports = known.ports
	}
	for _, p := range ports {
		if !strings.Contains(p, "/") {
			p += "/tcp"
		}
		if c.ExposedPorts == nil {
			c.ExposedPorts = make(map[string]struct{})
		}
		c.ExposedPorts[p] = struct{}{}
	}
	platform := ocispec.Platform{OS: "linux", Architecture: runtime.GOARCH}
	for _, p := range m.Packages {
		if known, ok := platforms[p.Arch]; ok { // "all" is none
			platform = known
		}
	}
	return ocispec.Image{
		Created:  &epoch,
		Platform: platform,
		Config:   c,
		RootFS:   ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{m.DiffID}},
		History: []ocispec.History{{
			Created:   &epoch,
			CreatedBy: "sampan image from-deb " + strings.Join(opt.Packages, " "),
		}},
	}
}

// platforms are Debian's architectures in OCI's words.
var platforms = map[string]ocispec.Platform{
	"amd64":   {OS: "linux", Architecture: "amd64"},
	"arm64":   {OS: "linux", Architecture: "arm64"},
	"armhf":   {OS: "linux", Architecture: "arm", Variant: "v7"},
	"armel":   {OS: "linux", Architecture: "arm", Variant: "v5"},
	"i386":    {OS: "linux", Architecture: "386"},
	"ppc64el": {OS: "linux", Architecture: "ppc64le"},
	"riscv64": {OS: "linux", Architecture: "riscv64"},
	"s390x":   {OS: "linux", Architecture: "s390x"},
}

func labels(opt Options, m *Image, epoch time.Time) map[string]string {
	var versions []string
	version := ""
	first, _, _ := strings.Cut(opt.Packages[0], "=")
	for _, p := range m.Packages {
		versions = append(versions, p.Name+"="+p.Version)
		if p.Name == first {
			version = p.Version
		}
	}
	all := map[string]string{
		ocispec.AnnotationTitle:       opt.Name,
		ocispec.AnnotationVersion:     version,
		ocispec.AnnotationCreated:     epoch.UTC().Format(time.RFC3339),
		ocispec.AnnotationDescription: fmt.Sprintf("%s from Debian packages", strings.Join(opt.Packages, ", ")),
		PackagesLabel:                 strings.Join(slices.Sorted(slices.Values(versions)), " "),
	}
	maps.Copy(all, opt.Labels)
	maps.DeleteFunc(all, func(_, v string) bool { return v == "" })
	return all
}
