package image

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/distribution/reference"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// Pull brings an image here from its registry or one of that registry's mirrors.
// Blobs that are here are not asked for. Until all is here and on disk, nothing
// shows; what a failed pull has downloaded serves the next attempt until GC.
func (s *Store) Pull(ctx context.Context, ref string, opt PullOptions) (Image, error) {
	named, err := ParseName(ref)
	if err != nil {
		return Image{}, fmt.Errorf("pull: %w", err)
	}
	img, err := s.pull(ctx, named, opt)
	if err != nil {
		return Image{}, fmt.Errorf("pull %s: %w", named, err)
	}
	return img, nil
}

func (s *Store) pull(ctx context.Context, named reference.Named, opt PullOptions) (Image, error) {
	ends, err := s.hosts.endpoints(reference.Domain(named), reference.Path(named), opt.Auth)
	if err != nil {
		return Image{}, err
	}
	p := &puller{store: s, named: named, progress: opt.Progress, hold: s.holds.begin()}
	defer p.hold.release()
	for _, e := range ends {
		p.remotes = append(p.remotes, &remote{endpoint: e, hosts: &s.hosts, stall: s.cfg.Stall})
	}
	target, err := p.all(ctx)
	if err != nil {
		if fault.Of(err) == fault.Exhausted {
			p.makeRoom(ctx)
		}
		return Image{}, err
	}
	names := []Name{{Name: withDigest(named, target.Digest), Target: target}}
	if isTag(named.String()) {
		names = append(names, Name{Name: named.String(), Target: target})
	}
	if err := s.Names(EngineNames).put(names...); err != nil {
		return Image{}, err
	}
	return s.Get(ctx, names[len(names)-1].Name)
}

// A puller is one pull.
type puller struct {
	store    *Store
	named    reference.Named
	remotes  []*remote
	progress func(Progress)
	hold     *hold
	wanted   []ocispec.Descriptor // config and layers
}

// all brings everything here and returns what the name leads to.
func (p *puller) all(ctx context.Context) (ocispec.Descriptor, error) {
	target, doc, err := p.root(ctx)
	if err != nil {
		return target, err
	}
	if err := p.platform(ctx, doc, 0); err != nil {
		return target, err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(p.store.cfg.Parallel)
	for i, d := range p.wanted {
		p.hold.add(d.Digest)
		group.Go(func() error {
			err := p.store.fetch(ctx, p.remotes, d, p.progress)
			if err != nil && i == 0 {
				return fmt.Errorf("config: %w", err)
			}
			if err != nil {
				return fmt.Errorf("layer %d of %d: %w", i, len(p.wanted)-1, err)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return target, err
	}
	// Whether the parts make an image shows before the name does.
	_, err = p.store.resolve(target)
	return target, err
}

// root finds the manifest or index that the name means.
func (p *puller) root(ctx context.Context) (ocispec.Descriptor, document, error) {
	var target ocispec.Descriptor
	if digested, ok := p.named.(reference.Digested); ok {
		target.Digest = digested.Digest()
		doc, err := p.manifest(ctx, &target, target.Digest.String())
		return target, doc, err
	}
	doc, err := p.manifest(ctx, &target, p.named.(reference.Tagged).Tag())
	return target, doc, err
}

// manifest brings the manifest ref, a digest or a tag, and fills in what it is. A
// digest that is here is not asked for.
func (p *puller) manifest(ctx context.Context, d *ocispec.Descriptor, ref string) (document, error) {
	if d.Digest != "" {
		p.hold.add(d.Digest)
		if data, err := p.store.blobs.read(d.Digest); err == nil {
			doc, err := parse(data)
			d.MediaType, d.Size = doc.kind(), int64(len(data))
			return doc, err
		}
	}
	what := "tag " + ref + " of " + reference.Path(p.named)
	if d.Digest != "" {
		what = "manifest " + ref + " of " + reference.Path(p.named)
	}
	var data []byte
	err := p.store.everywhere(ctx, p.remotes, func(r *remote) (bool, error) {
		found, desc, err := r.manifest(ctx, ref)
		if err != nil {
			return false, explain(ctx, r.endpoint, what, err)
		}
		data, d.MediaType, d.Digest, d.Size = found, desc.MediaType, desc.Digest, desc.Size
		return false, nil
	})
	if err != nil {
		return document{}, err
	}
	p.report(Progress{Digest: d.Digest, Step: "resolve", Done: d.Size, Total: d.Size})
	p.hold.add(d.Digest)
	if err := p.store.blobs.put(data, *d); err != nil {
		return document{}, err
	}
	return parse(data)
}

// platform finds what is needed for this node's platform: doc itself, or the
// first of an index's entries that fit.
func (p *puller) platform(ctx context.Context, doc document, depth int) error {
	if !isIndex(doc.kind()) {
		if doc.Config == nil {
			return fmt.Errorf("it is no image: its manifest has no config: %w", fault.Unsupported)
		}
		p.wanted = append([]ocispec.Descriptor{*doc.Config}, doc.Layers...)
		return nil
	}
	if depth == maxDepth {
		return fmt.Errorf("indexes in indexes, more than %d deep: %w", maxDepth, fault.Invalid)
	}
	fit, err := choose(doc.Manifests, p.store.cfg.Platform)
	if err != nil {
		return err
	}
	var first error
	for _, child := range fit {
		found, err := p.manifest(ctx, &child, child.Digest.String())
		if err == nil {
			err = p.platform(ctx, found, depth+1)
		}
		if err == nil {
			return nil
		}
		first = cmp.Or(first, err)
		if fault.Of(err) != fault.NotFound {
			break // an index may name what its registry does not have, no more
		}
	}
	return first
}

func (p *puller) report(progress Progress) {
	if p.progress != nil {
		p.progress(progress)
	}
}

// makeRoom gives back what this pull has taken of a full disk.
func (p *puller) makeRoom(ctx context.Context) {
	p.hold.release()
	var errs []error
	for _, d := range p.wanted {
		errs = append(errs, p.store.blobs.discard(downloadID(d.Digest)))
	}
	_, err := p.store.GC(context.WithoutCancel(ctx))
	if err := errors.Join(append(errs, err)...); err != nil {
		p.store.log.Warn("the disk is full and a failed pull could not be cleaned up", "image", p.named, "err", err)
	}
}

// discard deletes an upload unless somebody writes it.
func (b *Blobs) discard(id string) error {
	w, err := b.write(id, 0, 0)
	if kind := fault.Of(err); kind == fault.NotFound || kind == fault.Precondition {
		return nil
	}
	if err != nil {
		return err
	}
	return w.Cancel()
}

// put stores a small blob that is in memory.
func (b *Blobs) put(data []byte, d ocispec.Descriptor) error {
	if _, err := b.Stat(d.Digest); err == nil {
		return nil
	}
	w, err := b.create(0)
	if err != nil {
		return err
	}
	if _, err := bytes.NewReader(data).WriteTo(w); err != nil {
		return errors.Join(fmt.Errorf("blob %s: %w", d.Digest, err), w.Cancel())
	}
	return w.Commit(d.Digest)
}
