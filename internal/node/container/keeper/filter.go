package keeper

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/internal/node/container/launch"
)

// Execs get the seccomp filter of their container, also long after its start.
// Most containers have the same, so filters are kept once, by their digest.
const filtersDir = "filters"

// keepFilter stores a filter and returns its name.
func (k *Keeper) keepFilter(program []byte) (string, error) {
	if len(program) == 0 {
		return "", nil
	}
	sum := sha256.Sum256(program)
	name := hex.EncodeToString(sum[:])
	path := filepath.Join(k.dir, filtersDir, name)
	if _, err := os.Stat(path); err == nil {
		return name, nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return "", fmt.Errorf("keep seccomp filter: %w", err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+name)
	if err != nil {
		return "", fmt.Errorf("keep seccomp filter: %w", err)
	}
	_, err = f.Write(program)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
		return "", fmt.Errorf("keep seccomp filter: %w", err)
	}
	return name, nil
}

// filterOf returns a container's filter. One that is lost is an error: without
// it an exec could do what its container may not.
func (k *Keeper) filterOf(rec record) (launch.Seccomp, error) {
	if rec.Filter == "" {
		return launch.Seccomp{}, nil
	}
	program, err := os.ReadFile(filepath.Join(k.dir, filtersDir, rec.Filter))
	if errors.Is(err, fs.ErrNotExist) {
		return launch.Seccomp{}, fmt.Errorf("the container's seccomp filter is lost: %w", err)
	} else if err != nil {
		return launch.Seccomp{}, fmt.Errorf("the container's seccomp filter: %w", err)
	}
	return asFilter(program, rec.FilterFlags), nil
}

// asFilter makes a seccomp program of its bytes.
func asFilter(program []byte, flags uint) launch.Seccomp {
	const size = int(unsafe.Sizeof(unix.SockFilter{}))
	f := launch.Seccomp{Flags: flags}
	if n := len(program) / size; n > 0 {
		f.Program = make([]unix.SockFilter, n)
		copy(unsafe.Slice((*byte)(unsafe.Pointer(&f.Program[0])), n*size), program)
	}
	return f
}
