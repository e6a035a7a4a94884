package image

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// An archiveFile is a file of an archive, or a link to one.
type archiveFile struct {
	path    string // clean, relative to the archive's root
	size    int64
	content io.Reader
	link    string // path of another file instead of content
}

type putFile func(archiveFile) error

// readTar calls put for each file of a tar, whether plain, gzip or zstd.
func readTar(r io.Reader, put putFile) error {
	plain, err := decompress(r)
	if err != nil {
		return truncated(err)
	}
	defer plain.Close()
	archive := tar.NewReader(plain)
	for n := 0; ; n++ {
		hdr, err := archive.Next()
		switch {
		case errors.Is(err, io.EOF) && n == 0:
			return fmt.Errorf("the archive is empty: %w", fault.Invalid)
		case errors.Is(err, io.EOF):
			// A compressed stream that was cut off after the tar's end still is.
			_, err := io.Copy(io.Discard, plain)
			return truncated(err)
		case errors.Is(err, tar.ErrHeader) && n == 0:
			return fmt.Errorf("it is no tar archive: %w", fault.Invalid)
		case err != nil:
			return fmt.Errorf("read archive: %w", truncated(err))
		}
		f := archiveFile{path: path.Clean(hdr.Name), size: hdr.Size, content: archive}
		switch hdr.Typeflag {
		case tar.TypeReg:
		case tar.TypeSymlink:
			f.link = path.Join(path.Dir(f.path), hdr.Linkname)
		case tar.TypeLink:
			f.link = path.Clean(hdr.Linkname)
		default:
			continue
		}
		if err := put(f); err != nil {
			return err
		}
	}
}

// readDir calls put for each file of a directory. Links that lead out of it are
// not followed.
func readDir(dir string, put putFile) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	return fs.WalkDir(root.FS(), ".", func(p string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		f, err := root.Open(p)
		if err != nil {
			return err
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			return err
		}
		return put(archiveFile{path: p, size: info.Size(), content: f})
	})
}
