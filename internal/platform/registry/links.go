package registry

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"cuelabs.dev/go/oci/ociregistry"
	"github.com/opencontainers/go-digest"
)

// links say which blobs a repository has, as empty files:
// repositories/shop/web/_blobs/sha256-9f…. No repository's name has an
// underscore first, so one may lie in another. A power cut may take links of
// blobs that no manifest leads to yet, which costs one upload more.
type links struct{ root string }

func (l links) path(repo string, d digest.Digest) (string, error) {
	if err := d.Validate(); err != nil {
		return "", ociregistry.ErrDigestInvalid
	}
	return filepath.Join(l.root, filepath.FromSlash(repo), "_blobs", d.Algorithm().String()+"-"+d.Encoded()), nil
}

// add links a blob into a repository.
func (l links) add(repo string, d digest.Digest) error {
	path, err := l.path(repo, d)
	if err != nil {
		return err
	}
	err = os.MkdirAll(filepath.Dir(path), 0o700)
	if errors.Is(err, syscall.ENAMETOOLONG) {
		return ociregistry.ErrNameInvalid
	}
	if err != nil {
		return err
	}
	return os.WriteFile(path, nil, 0o600)
}

// sync puts the links of a repository on the medium, so that a manifest which is
// entered next never leads to a blob without a link.
func (l links) sync(repo string) error {
	dir := filepath.Join(l.root, filepath.FromSlash(repo), "_blobs")
	for ; len(dir) >= len(l.root); dir = filepath.Dir(dir) {
		d, err := os.Open(dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue // an index alone has no blobs
		}
		if err != nil {
			return err
		}
		if err := errors.Join(d.Sync(), d.Close()); err != nil {
			return err
		}
	}
	return nil
}

func (l links) has(repo string, d digest.Digest) bool {
	path, err := l.path(repo, d)
	if err != nil {
		return false
	}
	_, err = os.Stat(path)
	return err == nil
}

// remove tells whether there was a link.
func (l links) remove(repo string, d digest.Digest) (bool, error) {
	path, err := l.path(repo, d)
	if err != nil {
		return false, err
	}
	err = os.Remove(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// holders lists the repositories that have a blob.
func (l links) holders(d digest.Digest) (repos []string) {
	// What cannot be read holds nothing that could be mounted.
	_ = filepath.WalkDir(l.root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.IsDir() || entry.Name() != "_blobs" {
			return nil
		}
		repo, err := filepath.Rel(l.root, filepath.Dir(path))
		if repo = filepath.ToSlash(repo); err == nil && l.has(repo, d) {
			repos = append(repos, repo)
		}
		return fs.SkipDir
	})
	return repos
}
