package merged

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// MakeMissing makes in the empty directory to those of the given directories and
// files that the image lacks, so that to can be its topmost layer, and tells
// whether there were any. Directories above them are as in the image. What the
// image has a link or a file in the way of is left out.
func (f FS) MakeMissing(to string, dirs, files []string) (any bool, err error) {
	m := missing{FS: f, to: to, times: map[string]time.Time{}}
	for _, name := range dirs {
		if err := m.make(name, func(at string) error { return os.Mkdir(at, 0o755) }, 0o755); err != nil {
			return m.any, err
		}
	}
	for _, name := range files {
		if err := m.make(name, func(at string) error { return os.WriteFile(at, nil, 0o644) }, 0o644); err != nil {
			return m.any, err
		}
	}
	for dir, t := range m.times {
		err = errors.Join(err, os.Chtimes(dir, t, t))
	}
	return m.any, err
}

type missing struct {
	FS
	to    string
	any   bool
	times map[string]time.Time // of directories that the image has
}

func (m *missing) make(name string, create func(at string) error, mode os.FileMode) error {
	var above []fs.FileInfo // of the directories above, nil where the image has none
	parts := split(name)
	for i := range parts {
		real, info, err := m.lookup(path.Join(parts[:i+1]...))
		switch last := i == len(parts)-1; {
		case errors.Is(err, fs.ErrNotExist):
			above = append(above, nil)
		case err != nil:
			return err
		case last, !info.IsDir(), special(real):
			return nil
		default:
			above = append(above, info)
		}
	}
	m.any = true
	at := m.to
	for i, part := range parts[:len(parts)-1] {
		at = filepath.Join(at, part)
		if err := os.Mkdir(at, 0o755); errors.Is(err, fs.ErrExist) {
			continue
		} else if err != nil {
			return err
		}
		if above[i] == nil {
			continue
		}
		if err := like(at, above[i]); err != nil {
			return err
		}
		m.times[at] = above[i].ModTime()
	}
	at = filepath.Join(at, parts[len(parts)-1])
	if err := create(at); err != nil {
		return err
	}
	return os.Chmod(at, mode) // whatever the umask says
}

// special tells whether a directory has attributes that would have to be
// copied, such as access lists.
func special(dir string) bool {
	names := make([]byte, 1024)
	n, err := unix.Llistxattr(dir, names)
	if err != nil {
		return !errors.Is(err, unix.EOPNOTSUPP)
	}
	for name := range strings.SplitSeq(string(names[:n]), "\x00") {
		if name != "" && !strings.HasPrefix(name, "trusted.overlay.") {
			return true
		}
	}
	return false
}
