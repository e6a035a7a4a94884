package snapshot

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// copyXattrs gives path the extended attributes of model, except overlay's own:
// those say how a directory relates to the layers below it, which differ. A
// filesystem without attributes has none to copy.
func copyXattrs(path, model string) error {
	names, err := readXattr(func(buf []byte) (int, error) { return unix.Llistxattr(model, buf) })
	if errors.Is(err, unix.EOPNOTSUPP) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list attributes of %s: %w", model, err)
	}
	for name := range strings.SplitSeq(string(names), "\x00") {
		if name == "" || strings.HasPrefix(name, "trusted.overlay.") {
			continue
		}
		value, err := readXattr(func(buf []byte) (int, error) { return unix.Lgetxattr(model, name, buf) })
		if err == nil {
			err = unix.Lsetxattr(path, name, value, 0)
		}
		if err != nil {
			return fmt.Errorf("copy attribute %s of %s: %w", name, model, err)
		}
	}
	return nil
}

// readXattr asks for the size first, as the system call wants it.
func readXattr(read func([]byte) (int, error)) ([]byte, error) {
	size, err := read(nil)
	if err != nil || size == 0 {
		return nil, err
	}
	buf := make([]byte, size)
	n, err := read(buf)
	return buf[:max(n, 0)], err
}
