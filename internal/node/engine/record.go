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

	"github.com/sampan-cloud/sampan/internal/node/container"
)

// records keeps what the engine must know after a restart:
//
//	pods/<id>/pod.json              the pod
//	containers/<id>/container.json  a container and how it ended
//	containers/<id>/spec.json       what the runtime was or will be asked to start
//
// A record appears with a rename and is never half there. It is not synced: a
// power cut ends everything that it describes.
type records struct {
	dir string
}

func openRecords(dir string) (*records, error) {
	for _, d := range []string{"pods", "containers"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o700); err != nil {
			return nil, fmt.Errorf("engine records: %w", err)
		}
	}
	return &records{dir: dir}, nil
}

func (r *records) podDir(id string) string       { return filepath.Join(r.dir, "pods", id) }
func (r *records) containerDir(id string) string { return filepath.Join(r.dir, "containers", id) }

func (r *records) savePod(p *Pod) error {
	return writeJSON(filepath.Join(r.podDir(p.ID), "pod.json"), p)
}

func (r *records) saveContainer(c *Container) error {
	return writeJSON(filepath.Join(r.containerDir(c.ID), "container.json"), c)
}

func (r *records) saveSpec(s *container.Spec) error {
	return writeJSON(filepath.Join(r.containerDir(s.ID), "spec.json"), s)
}

func (r *records) loadSpec(id string) (container.Spec, error) {
	var s container.Spec
	err := readJSON(filepath.Join(r.containerDir(id), "spec.json"), &s)
	return s, err
}

// loadPods returns every whole record; a directory without one was left by a
// crash while the pod was made or removed, and its name is returned in broken.
func (r *records) loadPods() (whole []*Pod, broken []string, err error) {
	return load[Pod](filepath.Join(r.dir, "pods"), "pod.json")
}

func (r *records) loadContainers() (whole []*Container, broken []string, err error) {
	return load[Container](filepath.Join(r.dir, "containers"), "container.json")
}

func load[T any](dir, name string) (whole []*T, broken []string, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, nil, fmt.Errorf("engine records: %w", err)
	}
	for _, e := range entries {
		v := new(T)
		switch err := readJSON(filepath.Join(dir, e.Name(), name), v); {
		case err == nil:
			whole = append(whole, v)
		case errors.Is(err, fs.ErrNotExist), isBadJSON(err):
			broken = append(broken, e.Name())
		default:
			return nil, nil, err
		}
	}
	return whole, broken, nil
}

// writeJSON writes v to path, whole or not at all.
func writeJSON(path string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("record %s: %w", path, err)
	}
	tmp := path + ".new"
	if err := os.WriteFile(tmp, b, 0o600); err != nil {
		return fmt.Errorf("record: %w", err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return fmt.Errorf("record: %w", err)
	}
	return nil
}

func readJSON(path string, v any) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("record: %w", err)
	}
	if err := json.NewDecoder(bytes.NewReader(b)).Decode(v); err != nil {
		return fmt.Errorf("record %s: %w", path, err)
	}
	return nil
}

func isBadJSON(err error) bool {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	return errors.As(err, &syntax) || errors.As(err, &kind) || strings.HasSuffix(err.Error(), "EOF")
}

// bootID tells one boot of the machine from another.
func bootID() (string, error) {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("boot id: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}
