package image

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// hexID is what may be an image ID or its beginning.
var hexID = regexp.MustCompile(`^[a-f0-9]{1,64}$`)

// Get finds an image by name, by ID (with or without "sha256:", a unique prefix
// is enough) or by name@digest.
func (s *Store) Get(ctx context.Context, ref string) (Image, error) {
	all := s.Names(EngineNames).List("")
	found, _, err := s.find(ref, all)
	if err != nil {
		return Image{}, err
	}
	img, err := s.resolve(found[0].Target)
	if err != nil {
		return Image{}, fmt.Errorf("image %s: %w", ref, err)
	}
	for _, name := range all {
		if other, err := s.resolve(name.Target); err == nil && other.ID == img.ID {
			s.addName(&img, name)
		}
	}
	return img, nil
}

// find returns the names in all that ref means: one when it is a name, all of
// one image when it is an ID.
func (s *Store) find(ref string, all []Name) (found []Name, byID bool, err error) {
	hex, prefixed := strings.CutPrefix(ref, "sha256:")
	if !prefixed {
		found, err := s.findName(ref, all)
		if len(found) > 0 || err != nil && !hexID.MatchString(ref) {
			return found, false, err
		}
	}
	if hexID.MatchString(hex) {
		found, err = s.findID(ref, hex, all)
		if len(found) > 0 || err != nil {
			return found, true, err
		}
	}
	return nil, false, fmt.Errorf("image %s: %w", ref, fault.NotFound)
}

// findName looks a name up. An unknown one is no error here.
func (s *Store) findName(ref string, all []Name) ([]Name, error) {
	named, err := ParseName(ref)
	if err != nil {
		return nil, err
	}
	want := named.String()
	digested, _ := named.(reference.Digested)
	var found []Name
	for _, name := range all {
		switch {
		case name.Name == want:
			return []Name{name}, nil
		case digested != nil && repository(name.Name) == named.Name() && s.leads(name, digested.Digest()):
			found = append(found, name)
		}
	}
	return found, nil
}

// leads tells whether a name means the content d, be it index or manifest.
func (s *Store) leads(name Name, d digest.Digest) bool {
	if name.Target.Digest == d {
		return true
	}
	img, err := s.resolve(name.Target)
	return err == nil && img.Manifest.Digest == d
}

// findID returns the names of the one image whose ID begins with hex.
func (s *Store) findID(ref, hex string, all []Name) ([]Name, error) {
	var id digest.Digest
	var found []Name
	for _, name := range all {
		img, err := s.resolve(name.Target)
		if err != nil || !strings.HasPrefix(img.ID.Encoded(), hex) {
			continue
		}
		if id != "" && id != img.ID {
			return nil, fmt.Errorf("image %s: more than one ID begins so, give more of it: %w", ref, fault.Invalid)
		}
		id = img.ID
		found = append(found, name)
	}
	return found, nil
}

// Tag gives an image one more name.
func (s *Store) Tag(ctx context.Context, ref, name string) error {
	named, err := ParseName(name)
	if err != nil {
		return err
	}
	if !isTag(named.String()) {
		return fmt.Errorf("tag %s as %s: a digest cannot be given as a name: %w", ref, name, fault.Invalid)
	}
	found, _, err := s.find(ref, s.Names(EngineNames).List(""))
	if err != nil {
		return fmt.Errorf("tag: %w", err)
	}
	if err := s.Names(EngineNames).Set(named.String(), found[0].Target); err != nil {
		return fmt.Errorf("tag %s: %w", ref, err)
	}
	return nil
}

// Remove takes a name away; the ID takes all of an image's names away. What no
// name leads to any more is deleted. An unknown image is NotFound.
func (s *Store) Remove(ctx context.Context, ref string) error {
	engine := s.Names(EngineNames)
	all := engine.List("")
	found, _, err := s.find(ref, all)
	if err != nil {
		return fmt.Errorf("remove: %w", err)
	}
	gone := map[string]bool{}
	for _, name := range found {
		if name.Pinned {
			return fmt.Errorf("remove %s: the program carries this image and needs it: %w", ref, fault.Precondition)
		}
		gone[name.Name] = true
	}
	// A pull by tag also leaves name@digest, so that an image whose tag moves on
	// keeps its origin. Without any tag in its repository it has done its work.
	for _, name := range all {
		if !isTag(name.Name) && !name.Pinned && sameTarget(found, name) && !s.tagged(all, gone, name) {
			gone[name.Name] = true
		}
	}
	var names []string
	for name := range gone {
		names = append(names, name)
	}
	if err := engine.Delete(names...); err != nil {
		return fmt.Errorf("remove %s: %w", ref, err)
	}
	// The names are gone whatever the caller does next, so the blobs must follow.
	if _, err := s.GC(context.WithoutCancel(ctx)); err != nil {
		return fmt.Errorf("remove %s: %w", ref, err)
	}
	return nil
}

// sameTarget tells whether digest name belongs to the repository and content of
// one of found.
func sameTarget(found []Name, name Name) bool {
	for _, f := range found {
		if f.Target.Digest == name.Target.Digest && repository(f.Name) == repository(name.Name) {
			return true
		}
	}
	return false
}

// tagged tells whether a tag that stays leads to what the digest name means.
func (s *Store) tagged(all []Name, gone map[string]bool, name Name) bool {
	for _, other := range all {
		if isTag(other.Name) && !gone[other.Name] && sameTarget([]Name{other}, name) {
			return true
		}
	}
	return false
}
