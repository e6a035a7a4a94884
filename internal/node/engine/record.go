package engine

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/internal/node/container"
)

// records keeps what the engine must know after a restart, in one file each:
//
//	pods/<id>        the pod
//	containers/<id>  a container and how it ended, and what the runtime was or
//	                 will be asked to start
//
// A line of a file is a kind and its value in JSON. Of each kind the last whole
// line counts, so a change is one write at the end. Replacing the file would
// cost the filesystem two inodes, which is more than all else that a container
// writes. Nothing is synced: a power cut ends everything that is described here.
type records struct {
	dir string
	mu  sync.Mutex // from looking at a file's size to writing to it
}

type line struct {
	kind  string
	value any
}

const (
	podLine       = "pod"
	containerLine = "container"
	specLine      = "spec"
)

// recordLimit is the size from which on a file is written anew without the
// lines that no longer count.
const recordLimit = 256 << 10

func openRecords(dir string) (*records, error) {
	for _, d := range []string{"pods", "containers"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o700); err != nil {
			return nil, fmt.Errorf("engine records: %w", err)
		}
	}
	return &records{dir: dir}, nil
}

func (r *records) podFile(id string) string       { return filepath.Join(r.dir, "pods", id) }
func (r *records) containerFile(id string) string { return filepath.Join(r.dir, "containers", id) }

func (r *records) newPod(p *Pod) error  { return r.create(r.podFile(p.ID), line{podLine, p}) }
func (r *records) savePod(p *Pod) error { return r.add(r.podFile(p.ID), line{podLine, p}) }

func (r *records) newContainer(c *Container, s *container.Spec) error {
	return r.create(r.containerFile(c.ID), line{specLine, s}, line{containerLine, c})
}

func (r *records) saveContainer(c *Container) error {
	return r.add(r.containerFile(c.ID), line{containerLine, c})
}

func (r *records) saveSpec(s *container.Spec) error {
	return r.add(r.containerFile(s.ID), line{specLine, s})
}

func (r *records) loadSpec(id string) (container.Spec, error) {
	var s container.Spec
	path := r.containerFile(id)
	b, err := os.ReadFile(path)
	if err != nil {
		return s, fmt.Errorf("record: %w", err)
	}
	if !lastOf(b, specLine, &s) {
		return s, fmt.Errorf("record %s: it has no specification", path)
	}
	return s, nil
}

// dropPod and dropContainer forget an object. Repeating it is not an error.
func (r *records) dropPod(id string) error       { return os.RemoveAll(r.podFile(id)) }
func (r *records) dropContainer(id string) error { return os.RemoveAll(r.containerFile(id)) }

// loadPods returns every whole record. One that is not was left by a crash
// while the pod was made, and its name is returned in broken.
func (r *records) loadPods() (whole []*Pod, broken []string, err error) {
	return load[Pod](filepath.Join(r.dir, "pods"), podLine)
}

func (r *records) loadContainers() (whole []*Container, broken []string, err error) {
	return load[Container](filepath.Join(r.dir, "containers"), containerLine)
}

func load[T any](dir, kind string) (whole []*T, broken []string, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, nil, fmt.Errorf("engine records: %w", err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") { // see shorten
			err = errors.Join(err, os.Remove(filepath.Join(dir, e.Name())))
			continue
		}
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.EISDIR) {
			return nil, nil, fmt.Errorf("engine records: %w", err)
		}
		v := new(T)
		if lastOf(b, kind, v) {
			whole = append(whole, v)
		} else {
			broken = append(broken, e.Name())
		}
	}
	return whole, broken, nil
}

// create writes a new file.
func (r *records) create(path string, lines ...line) error {
	text, err := textOf(lines...)
	if err == nil {
		err = os.WriteFile(path, text, 0o600)
	}
	if err != nil {
		return fmt.Errorf("record: %w", err)
	}
	return nil
}

// add writes one more line to a file, which must be there: what was removed
// meanwhile stays so.
func (r *records) add(path string, l line) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return fmt.Errorf("record: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err == nil && info.Size() > recordLimit {
		err = shorten(path, l)
	} else if err == nil {
		var text []byte
		if text, err = textOf(l); err == nil {
			_, err = f.Write(text)
		}
	}
	if err != nil {
		return fmt.Errorf("record: %w", err)
	}
	return nil
}

// shorten replaces a file by its lines that count and one more.
func shorten(path string, more line) error {
	old, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var keep []line
	for _, kind := range []string{specLine, podLine, containerLine} {
		var v json.RawMessage
		if kind != more.kind && lastOf(old, kind, &v) {
			keep = append(keep, line{kind, v})
		}
	}
	text, err := textOf(append(keep, more)...)
	if err != nil {
		return err
	}
	// The name begins with a dot, as no ID does.
	aside := filepath.Join(filepath.Dir(path), "."+filepath.Base(path))
	if err := os.WriteFile(aside, text, 0o600); err != nil {
		return errors.Join(err, os.Remove(aside))
	}
	return os.Rename(aside, path)
}

// textOf is lines as they are written. The line end before each closes one that
// was cut short.
func textOf(lines ...line) ([]byte, error) {
	var text []byte
	for _, l := range lines {
		b, err := json.Marshal(l.value)
		if err != nil {
			return nil, err
		}
		text = append(append(append(text, '\n'), l.kind...), ' ')
		text = append(append(text, b...), '\n')
	}
	return text, nil
}

// lastOf decodes the last whole line of a kind into v. It returns false when
// there is none.
func lastOf(text []byte, kind string, v any) bool {
	for len(text) > 0 {
		i := bytes.LastIndexByte(text, '\n')
		line := text[i+1:]
		text = text[:max(i, 0)]
		if value, ok := bytes.CutPrefix(line, []byte(kind+" ")); ok && json.Unmarshal(value, v) == nil {
			return true
		}
	}
	return false
}

// bootID tells one boot of the machine from another.
func bootID() (string, error) {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("boot id: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}
