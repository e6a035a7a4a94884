package main

import (
	"archive/tar"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// archive is tar as `kubectl cp` calls it: `cf - PATH`, or `xmf - -C DIR`.
func archive(args []string) error {
	if strings.Contains(args[0], "c") {
		return pack(os.Stdout, args[len(args)-1])
	}
	return unpack(os.Stdin, args[len(args)-1])
}

func pack(out io.Writer, path string) error {
	w := tar.NewWriter(out)
	err := filepath.WalkDir(path, func(p string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fi, err := os.Stat(p)
		if err != nil {
			return err
		}
		h, err := tar.FileInfoHeader(fi, "")
		if err != nil {
			return err
		}
		h.Name = strings.TrimPrefix(p, "/")
		if err := w.WriteHeader(h); err != nil || fi.IsDir() {
			return err
		}
		data, err := os.ReadFile(p)
		if err == nil {
			_, err = w.Write(data)
		}
		return err
	})
	return errors.Join(err, w.Close())
}

func unpack(in io.Reader, dir string) error {
	for r := tar.NewReader(in); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		path := filepath.Join(dir, filepath.Join("/", h.Name))
		if h.Typeflag == tar.TypeDir {
			err = os.MkdirAll(path, 0o755)
		} else {
			var data []byte
			if data, err = io.ReadAll(r); err == nil {
				err = os.WriteFile(path, data, fs.FileMode(h.Mode))
			}
		}
		if err != nil {
			return err
		}
	}
}
