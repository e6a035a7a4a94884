package archive

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// files are those of an archive, in the order in which they are written: what
// says what it is comes first.
var files = []string{configFile, specFile, networkFile, deletedFile, logFile, statsFile, RootDiff, SharedMem}

// WriteTo writes the archive. What is not there is left out.
func (d Dir) WriteTo(ctx context.Context, w io.Writer) error {
	t := tar.NewWriter(w)
	for _, name := range files {
		if err := d.add(ctx, t, name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	for _, dir := range []string{Images, Volumes} {
		entries, err := os.ReadDir(d.Path(dir))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if err := t.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir + "/", Mode: 0o700}); err != nil {
			return err
		}
		for _, e := range entries {
			if err := d.add(ctx, t, path.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return t.Close()
}

func (d Dir) add(ctx context.Context, t *tar.Writer, name string) error {
	f, err := os.Open(d.Path(name))
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if err := t.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o600, Size: info.Size(), ModTime: info.ModTime()}); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if _, err := io.Copy(t, reader{ctx, f}); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// Extract writes the files of an archive into the directory, which is empty.
// Entries that are none of them are left out, whatever they are.
func (d Dir) Extract(ctx context.Context, r io.Reader) error {
	for t := tar.NewReader(reader{ctx, r}); ; {
		hdr, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read the archive: %w: %w", err, fault.Corrupt)
		}
		name := path.Clean(strings.TrimPrefix(hdr.Name, "./"))
		if hdr.Typeflag != tar.TypeReg || !known(name) {
			continue
		}
		if err := d.extract(name, t); err != nil {
			return err
		}
	}
}

// known tells whether name is a file of an archive. No other name becomes a path.
func known(name string) bool {
	dir, base := path.Split(name)
	return slices.Contains(files, name) || (dir == Images+"/" || dir == Volumes+"/") && base != "" && base != ".."
}

func (d Dir) extract(name string, r io.Reader) error {
	at := d.Path(filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(at), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(at, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// reader ends when its context does.
type reader struct {
	ctx context.Context
	io.Reader
}

func (r reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.Reader.Read(p)
}
