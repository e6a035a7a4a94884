package archive

import (
	"archive/tar"
	"bytes"
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

const (
	xattrRecord   = "SCHILY.xattr."
	overlayRecord = xattrRecord + "trusted.overlay."
	whiteout      = ".wh." // how an image's layer says that a file is deleted
)

// SaveDiff turns a tar of a writable layer, in overlay's own form, into
// rootfs-diff.tar and deleted.files. lowers are the directories below it.
func (d Dir) SaveDiff(ctx context.Context, upper string, lowers []string) error {
	in, err := os.Open(upper)
	if err != nil {
		return fmt.Errorf("writable layer: %w", err)
	}
	defer in.Close()
	names, err := namesIn(ctx, in)
	if err != nil {
		return fmt.Errorf("writable layer: %w", err)
	}
	if _, err := in.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("writable layer: %w", err)
	}
	out, err := os.OpenFile(d.Path(RootDiff), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	deleted, err := diff(tar.NewReader(reader{ctx, in}), tar.NewWriter(out), names, lowers)
	if err = errors.Join(err, out.Close()); err != nil {
		return fmt.Errorf("%s: %w", RootDiff, err)
	}
	return d.write(deletedFile, deleted)
}

// namesIn lists the entries of a tar.
func namesIn(ctx context.Context, r io.Reader) (map[string]bool, error) {
	names := map[string]bool{}
	for t := tar.NewReader(reader{ctx, r}); ; {
		hdr, err := t.Next()
		if errors.Is(err, io.EOF) {
			return names, nil
		}
		if err != nil {
			return nil, err
		}
		names[path.Clean(hdr.Name)] = true
	}
}

func diff(in *tar.Reader, out *tar.Writer, names map[string]bool, lowers []string) (deleted []string, err error) {
	deleted = []string{}
	for {
		hdr, err := in.Next()
		if errors.Is(err, io.EOF) {
			return deleted, out.Close()
		}
		if err != nil {
			return nil, err
		}
		name := path.Clean(hdr.Name)
		if hdr.Typeflag == tar.TypeChar && hdr.Devmajor == 0 && hdr.Devminor == 0 {
			deleted = append(deleted, "/"+name)
			continue
		}
		for _, mark := range []string{"redirect", "metacopy"} {
			if hdr.PAXRecords[overlayRecord+mark] != "" {
				return nil, fmt.Errorf("%s: the kernel wrote it with overlay's %s, which is not read here: %w", name, mark, fault.Unsupported)
			}
		}
		if hdr.PAXRecords[overlayRecord+"opaque"] == "y" {
			deleted = append(deleted, hidden(name, names, lowers)...)
		}
		// What only this tar's own form needs would be refused by the writer.
		records := map[string]string{}
		for key, value := range hdr.PAXRecords {
			if strings.HasPrefix(key, xattrRecord) && !strings.HasPrefix(key, overlayRecord) {
				records[key] = value
			}
		}
		if err := out.WriteHeader(&tar.Header{
			Typeflag: hdr.Typeflag, Name: hdr.Name, Linkname: hdr.Linkname, Size: hdr.Size, Mode: hdr.Mode, Uid: hdr.Uid, Gid: hdr.Gid,
			ModTime: hdr.ModTime, Devmajor: hdr.Devmajor, Devminor: hdr.Devminor, PAXRecords: records, Format: tar.FormatPAX,
		}); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if _, err := io.Copy(out, in); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
}

// hidden lists what an opaque directory hides of those below it.
func hidden(dir string, names map[string]bool, lowers []string) []string {
	var gone []string
	for _, lower := range lowers {
		entries, err := os.ReadDir(filepath.Join(lower, dir))
		if err != nil {
			continue // it has no such directory
		}
		for _, e := range entries {
			name := path.Join(dir, e.Name())
			if at := "/" + name; !names[name] && !slices.Contains(gone, at) {
				gone = append(gone, at)
			}
		}
	}
	return gone
}

// Diff reads both files as one layer of an image: what was deleted, then what was
// added or changed. The caller closes it.
func (d Dir) Diff() (io.ReadCloser, error) {
	var deleted []string
	if err := d.read(deletedFile, &deleted); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var first bytes.Buffer
	t := tar.NewWriter(&first)
	for _, name := range deleted {
		dir, base := path.Split(path.Clean("/" + name))
		if base == "" {
			return nil, fmt.Errorf("%s: %q is no file: %w", deletedFile, name, fault.Corrupt)
		}
		if err := t.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: strings.TrimPrefix(dir, "/") + whiteout + base}); err != nil {
			return nil, fmt.Errorf("%s: %w", deletedFile, err)
		}
	}
	if err := t.Flush(); err != nil { // no end: more follows
		return nil, fmt.Errorf("%s: %w", deletedFile, err)
	}
	rest, err := os.Open(d.Path(RootDiff))
	if errors.Is(err, fs.ErrNotExist) {
		return io.NopCloser(&first), nil
	}
	if err != nil {
		return nil, err
	}
	return struct {
		io.Reader
		io.Closer
	}{io.MultiReader(&first, rest), rest}, nil
}
