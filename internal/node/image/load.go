package image

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// LoadOptions say how to load.
type LoadOptions struct {
	Name     string // for an image whose archive gives it none, or only a tag
	Progress func(Progress)
}

// containerdName is the annotation in which docker and containerd keep an image's
// full name; OCI's own has often only the tag.
const containerdName = "io.containerd.image.name"

// Load takes in the images of an archive: of docker save, old or new, or an OCI
// layout as a tar; plain, gzip or zstd. All of them appear or none.
func (s *Store) Load(ctx context.Context, r io.Reader, opt LoadOptions) ([]Image, error) {
	return s.load(ctx, opt, func(put putFile) error { return readTar(r, put) })
}

// LoadLayout is Load from an OCI layout in a directory.
func (s *Store) LoadLayout(ctx context.Context, dir string, opt LoadOptions) ([]Image, error) {
	return s.load(ctx, opt, func(put putFile) error { return readDir(dir, put) })
}

func (s *Store) load(ctx context.Context, opt LoadOptions, read func(putFile) error) ([]Image, error) {
	l := &loader{
		adder: adder{store: s, hold: s.holds.begin()}, opt: opt,
		small: map[string][]byte{}, blobs: map[string]ocispec.Descriptor{}, links: map[string]string{},
	}
	images, err := l.load(ctx, read)
	l.hold.release()
	if err != nil {
		// What came before the failure must not stay, least of all on a full disk.
		if _, gcErr := s.GC(context.WithoutCancel(ctx)); gcErr != nil {
			s.log.Warn("a failed load could not be cleaned up", "err", gcErr)
		}
		return nil, fmt.Errorf("load: %w", err)
	}
	return images, nil
}

// A loader is one load. It reads the archive once, in whatever order it comes:
// blobs go to the store, small files stay in memory until their meaning is known.
type loader struct {
	adder
	opt   LoadOptions
	small map[string][]byte
	blobs map[string]ocispec.Descriptor // what became of large files
	links map[string]string             // old docker saves equal layers once
	total int                           // bytes in small
}

const (
	maxSmall = 4 << 20  // a file that stays in memory
	maxTotal = 64 << 20 // of all such files
)

func (l *loader) load(ctx context.Context, read func(putFile) error) ([]Image, error) {
	err := read(func(f archiveFile) error {
		if err := l.file(ctx, f); err != nil {
			return fmt.Errorf("entry %q: %w", f.path, err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	var names []Name
	switch {
	case l.small["index.json"] != nil:
		names, err = l.oci()
	case l.small["manifest.json"] != nil:
		names, err = l.docker()
	case len(l.blobs) > 0:
		err = fmt.Errorf("it has layers but no manifest.json and no index.json, it was probably cut off: %w", fault.Corrupt)
	default:
		err = fmt.Errorf("it is neither a docker nor an OCI archive, there is no manifest.json and no index.json: %w", fault.Invalid)
	}
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("there is no image in it: %w", fault.Invalid)
	}
	for _, name := range names {
		if _, err := l.store.resolve(name.Target); err != nil {
			return nil, fmt.Errorf("image %s: %w", name.Name, err)
		}
	}
	if err := l.store.Names(EngineNames).put(names...); err != nil {
		return nil, err
	}
	return l.store.images(names), nil
}

// file takes one file of the archive in.
func (l *loader) file(ctx context.Context, f archiveFile) error {
	if f.link != "" {
		l.links[f.path] = f.link
		return nil
	}
	var want digest.Digest
	if rest, ok := strings.CutPrefix(f.path, "blobs/"); ok {
		want = digest.Digest(strings.Replace(rest, "/", ":", 1))
		if err := want.Validate(); err != nil {
			return fmt.Errorf("%w: %w", err, fault.Corrupt)
		}
	}
	isTar := strings.HasSuffix(f.path, ".tar") || strings.HasSuffix(f.path, ".tar.gz")
	if want == "" && !isTar && f.size <= maxSmall {
		if l.total += int(f.size); l.total > maxTotal {
			return fmt.Errorf("too many small files for an image archive: %w", fault.Invalid)
		}
		data, err := io.ReadAll(f.content)
		l.small[f.path] = data
		return truncated(err)
	}
	d, size, err := l.blob(ctx, f.content, want)
	if err != nil {
		return err
	}
	l.blobs[f.path] = ocispec.Descriptor{Digest: d, Size: size}
	if l.opt.Progress != nil {
		l.opt.Progress(Progress{Digest: d, Step: "done", Done: size, Total: size})
	}
	return nil
}

// oci finds the images of an OCI layout.
func (l *loader) oci() ([]Name, error) {
	var index ocispec.Index
	if err := json.Unmarshal(l.small["index.json"], &index); err != nil {
		return nil, fmt.Errorf("index.json: %w: %w", err, fault.Corrupt)
	}
	if target, ok, err := l.oneOfPlatforms(index); ok || err != nil {
		return []Name{{Name: untagged + target.Digest.String(), Target: target}}, err
	}
	var names []Name
	for _, m := range index.Manifests {
		if m.Annotations["vnd.docker.reference.type"] != "" || !isIndex(m.MediaType) && !isManifest(m.MediaType) {
			continue // not an image: a provenance, a signature
		}
		found, err := l.namesOf(m)
		if err != nil {
			return nil, err
		}
		target := ocispec.Descriptor{MediaType: m.MediaType, Digest: m.Digest, Size: m.Size}
		for _, name := range found {
			names = append(names, Name{Name: name, Target: target})
		}
	}
	return names, nil
}

// oneOfPlatforms handles layouts whose index.json is itself the index of one
// image for several platforms.
func (l *loader) oneOfPlatforms(index ocispec.Index) (target ocispec.Descriptor, ok bool, err error) {
	if len(index.Manifests) < 2 {
		return target, false, nil
	}
	for _, m := range index.Manifests {
		if m.Platform == nil || m.Annotations[ocispec.AnnotationRefName] != "" || m.Annotations[containerdName] != "" {
			return target, false, nil
		}
	}
	data := l.small["index.json"]
	target = ocispec.Descriptor{MediaType: ocispec.MediaTypeImageIndex, Digest: digest.FromBytes(data), Size: int64(len(data))}
	l.hold.add(target.Digest)
	return target, true, l.store.blobs.put(data, target)
}

// namesOf returns the names of one entry of index.json.
func (l *loader) namesOf(m ocispec.Descriptor) ([]string, error) {
	given := m.Annotations[containerdName]
	if ref := m.Annotations[ocispec.AnnotationRefName]; given == "" && ref != "" {
		switch {
		case strings.ContainsAny(ref, "/:"):
			given = ref
		case l.opt.Name != "":
			base, err := ParseName(l.opt.Name)
			if err != nil {
				return nil, err
			}
			given = reference.TrimNamed(base).String() + ":" + ref
		}
	}
	if given == "" {
		given = l.opt.Name
	}
	if given == "" {
		return []string{untagged + m.Digest.String()}, nil
	}
	named, err := ParseName(given)
	if err != nil {
		return nil, err
	}
	return []string{named.String()}, nil
}

// follow returns the path that an archive's path leads to through its links.
func (l *loader) follow(p string) string {
	p = path.Clean(p)
	for range maxLinks {
		target, ok := l.links[p]
		if !ok {
			break
		}
		p = target
	}
	return p
}
