// Package bundle carries programs inside another program's file.
//
// The carried files follow the executable as a zip archive, whose directory
// stands at the end of the file: the kernel never reads that far, so carrying
// costs neither start time nor memory until they are written out.
package bundle

import (
	"archive/zip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/klauspost/compress/zstd"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// Append writes the file out: the executable at self, followed by the files.
func Append(out, self string, files ...string) (err error) {
	tmp := out + ".new"
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, f.Close())
		if err == nil {
			err = os.Rename(tmp, out)
		}
	}()
	n, err := copyFile(f, self)
	if err != nil {
		return err
	}
	w := zip.NewWriter(f)
	w.SetOffset(n)
	w.RegisterCompressor(zstd.ZipMethodWinZip, zstd.ZipCompressor(zstd.WithEncoderLevel(zstd.SpeedDefault)))
	for _, name := range files {
		e, err := w.CreateHeader(&zip.FileHeader{Name: filepath.Base(name), Method: zstd.ZipMethodWinZip})
		if err != nil {
			return err
		}
		if _, err := copyFile(e, name); err != nil {
			return err
		}
	}
	return w.Close()
}

// Extract writes the files that the executable at self carries into a directory
// of their own under root, named by their content, and returns it. Files that
// are there already are left alone. progress may be nil.
func Extract(self, root string, progress func(name string)) (string, error) {
	r, err := zip.OpenReader(self)
	if err != nil {
		return "", fmt.Errorf("%s carries no programs (build it with `make build`): %w", self, fault.Precondition)
	}
	defer r.Close()
	r.RegisterDecompressor(zstd.ZipMethodWinZip, zstd.ZipDecompressor())
	id := sha256.New()
	for _, f := range r.File {
		fmt.Fprintf(id, "%s %d %x\n", f.Name, f.UncompressedSize64, f.CRC32)
	}
	dir := filepath.Join(root, hex.EncodeToString(id.Sum(nil))[:12])
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	failed := make(chan error, len(r.File))
	for _, f := range r.File {
		go func() {
			err := extract(f, dir)
			if err == nil && progress != nil {
				progress(f.Name)
			}
			failed <- err
		}()
	}
	for range r.File {
		err = errors.Join(err, <-failed)
	}
	return dir, err
}

// extract writes one file. A file of its final name is always whole.
func extract(f *zip.File, dir string) error {
	path := filepath.Join(dir, filepath.Base(f.Name))
	if fi, err := os.Stat(path); err == nil && fi.Size() == int64(f.UncompressedSize64) {
		return nil
	}
	in, err := f.Open()
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.CreateTemp(dir, f.Name+".*")
	if err != nil {
		return err
	}
	defer os.Remove(out.Name())
	_, err = io.Copy(out, in)
	if err = errors.Join(err, out.Chmod(0o755), out.Close()); err != nil {
		return fmt.Errorf("write out %s: %w", f.Name, err)
	}
	return os.Rename(out.Name(), path)
}

func copyFile(w io.Writer, name string) (int64, error) {
	f, err := os.Open(name)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	return io.Copy(w, f)
}
