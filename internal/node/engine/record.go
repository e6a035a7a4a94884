package engine

import (
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

// records keeps what the engine must know after a restart, in one file for a pod
// and its containers:
//
//	pods/<id>
//		pod {…}               the pod
//		spec <id> {…}         what the runtime was or will be asked to start
//		container <id> {…}    a container and how it ended
//		gone <id>             it is no more
//
// Of lines that begin alike the last whole one counts, so a change is one write
// at the end. A file more, or a new one in place of the old, would cost the
// filesystem inodes, which are dearer than all else that a container writes.
// Nothing is synced: a power cut ends everything that is described here.
type records struct {
	dir string
	mu  sync.RWMutex // for writing: a file is replaced

	sizes sync.Map // file → the size from which on it is worth writing anew
}

// recordLimit is the least size from which on a file is written anew without the
// lines that no longer count.
const recordLimit = 256 << 10

func openRecords(dir string) (*records, error) {
	r := &records{dir: filepath.Join(dir, "pods")}
	if err := os.MkdirAll(r.dir, 0o700); err != nil {
		return nil, fmt.Errorf("engine records: %w", err)
	}
	return r, nil
}

func (r *records) file(pod string) string { return filepath.Join(r.dir, pod) }

func (r *records) newPod(p *Pod) error {
	text, err := textOf(line{kind: podLine, value: p})
	if err == nil {
		err = os.WriteFile(r.file(p.ID), text, 0o600)
	}
	if err != nil {
		return fmt.Errorf("record: %w", err)
	}
	return nil
}

func (r *records) savePod(p *Pod) error { return r.add(p.ID, line{kind: podLine, value: p}) }

// dropPod forgets a pod with its containers. Repeating it is not an error.
func (r *records) dropPod(id string) error {
	r.sizes.Delete(id)
	return os.RemoveAll(r.file(id))
}

func (r *records) newContainer(c *Container, s *container.Spec) error {
	return r.add(c.PodID, line{specLine, c.ID, s}, line{containerLine, c.ID, c})
}

func (r *records) saveContainer(c *Container) error {
	return r.add(c.PodID, line{containerLine, c.ID, c})
}

func (r *records) saveSpec(pod string, s *container.Spec) error {
	return r.add(pod, line{specLine, s.ID, s})
}

// dropContainer forgets a container. Repeating it is not an error.
func (r *records) dropContainer(c *Container) error {
	err := r.add(c.PodID, line{kind: goneLine, id: c.ID})
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func (r *records) loadSpec(c *Container) (container.Spec, error) {
	var s container.Spec
	path := r.file(c.PodID)
	text, err := os.ReadFile(path)
	if err != nil {
		return s, fmt.Errorf("record: %w", err)
	}
	if !lastOf(text, line{specLine, c.ID, &s}) {
		return s, fmt.Errorf("record %s: it has no specification of %s", path, c.ID)
	}
	return s, nil
}

// load returns every pod and container that has a whole record. One that has
// not was left by a crash while it was made, and a pod's is named in broken.
func (r *records) load() (pods []*Pod, containers []*Container, broken []string, err error) {
	entries, err := os.ReadDir(r.dir)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("engine records: %w", err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") { // see shorten
			if err := os.Remove(filepath.Join(r.dir, e.Name())); err != nil {
				return nil, nil, nil, fmt.Errorf("engine records: %w", err)
			}
			continue
		}
		text, err := os.ReadFile(r.file(e.Name()))
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.EISDIR) {
			return nil, nil, nil, fmt.Errorf("engine records: %w", err)
		}
		p := new(Pod)
		if !lastOf(text, line{kind: podLine, value: p}) {
			broken = append(broken, e.Name())
			continue
		}
		pods = append(pods, p)
		for _, id := range living(text) {
			c := new(Container)
			if lastOf(text, line{containerLine, id, c}) {
				containers = append(containers, c)
			}
		}
	}
	return pods, containers, broken, nil
}

// add writes lines to a file, which must be there: what was removed meanwhile
// stays so.
func (r *records) add(pod string, lines ...line) error {
	text, err := textOf(lines...)
	if err == nil {
		var size int64
		if size, err = r.write(pod, text); err == nil && size > r.limit(pod) {
			err = r.shorten(pod)
		}
	}
	if err != nil {
		return fmt.Errorf("record: %w", err)
	}
	return nil
}

func (r *records) limit(pod string) int64 {
	if size, known := r.sizes.Load(pod); known {
		return size.(int64)
	}
	return recordLimit
}

// write appends text and returns how long the file was before.
func (r *records) write(pod string, text []byte) (size int64, err error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	f, err := os.OpenFile(r.file(pod), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	_, err = f.Write(text)
	return info.Size(), err
}

// shorten replaces a file by its lines that count.
func (r *records) shorten(pod string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	old, err := os.ReadFile(r.file(pod))
	if err != nil {
		return err
	}
	keep := []line{{kind: podLine}}
	for _, id := range living(old) {
		keep = append(keep, line{kind: specLine, id: id}, line{kind: containerLine, id: id})
	}
	var lines []line
	for _, l := range keep {
		var value json.RawMessage
		l.value = &value
		if lastOf(old, l) {
			lines = append(lines, l)
		}
	}
	text, err := textOf(lines...)
	if err != nil {
		return err
	}
	// The name begins with a dot, as no ID does.
	aside := r.file("." + pod)
	if err := os.WriteFile(aside, text, 0o600); err != nil {
		return errors.Join(err, os.Remove(aside))
	}
	r.sizes.Store(pod, int64(max(recordLimit, 2*len(text))))
	return os.Rename(aside, r.file(pod))
}

// bootID tells one boot of the machine from another.
func bootID() (string, error) {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("boot id: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}
