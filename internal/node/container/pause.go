package container

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// Pause returns the / and the arguments of a container that only holds a process
// namespace for others and reaps what they leave: the keeper's own program in a
// directory that has nothing else. The rest of its specification is an ordinary
// one; others join its process namespace by /proc/PID/ns/pid.
func (r *Runtime) Pause() (Rootfs, []string, error) {
	root := Rootfs{Base: filepath.Join(r.cfg.Dir, "pause")}
	args := []string{"/sampan-keeper", "pause"}
	if _, err := os.Stat(root.Base); err == nil {
		return root, args, nil
	}
	// The directory gets its name last: one that is there is whole.
	aside, err := os.MkdirTemp(r.cfg.Dir, ".pause")
	if err != nil {
		return Rootfs{}, nil, fmt.Errorf("pause container: %w", err)
	}
	defer os.RemoveAll(aside)
	err = errors.Join(os.Chmod(aside, 0o755), copyProgram(r.cfg.Keeper, filepath.Join(aside, "sampan-keeper")))
	for _, dir := range []string{"proc", "sys", "dev"} {
		err = errors.Join(err, os.Mkdir(filepath.Join(aside, dir), 0o755))
	}
	if err == nil {
		err = os.Rename(aside, root.Base)
		if fault.Of(err) == fault.Exists {
			err = nil // another goroutine was faster
		}
	}
	if err != nil {
		return Rootfs{}, nil, fmt.Errorf("pause container: %w", err)
	}
	return root, args, nil
}

func copyProgram(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
