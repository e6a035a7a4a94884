package engine

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// newID returns an ID for a pod or a container: 64 hex digits, as every client
// expects them.
func newID() string {
	var b [32]byte
	rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// A table finds objects by ID, by a unique prefix of it, and reserves names.
// The caller locks it.
type table[T any] struct {
	kind  string
	byID  map[string]T
	names map[string]string // reserved name → ID
}

func newTable[T any](kind string) table[T] {
	return table[T]{kind: kind, byID: map[string]T{}, names: map[string]string{}}
}

// reserve takes name for id. The same id may take it again.
func (t *table[T]) reserve(name, id string) error {
	if other, ok := t.names[name]; ok && other != id {
		return fmt.Errorf("%s: name %q is reserved for %s: %w", t.kind, name, other, fault.Exists)
	}
	t.names[name] = id
	return nil
}

// release gives back the names of id.
func (t *table[T]) release(name, id string) {
	if t.names[name] == id {
		delete(t.names, name)
	}
}

// find returns the object with this ID or the only one whose ID begins so.
func (t *table[T]) find(id string) (T, error) {
	var none, found T
	if id == "" {
		return none, fmt.Errorf("%s: empty id: %w", t.kind, fault.Invalid)
	}
	if v, ok := t.byID[id]; ok {
		return v, nil
	}
	n := 0
	if len(id) < 64 {
		for k, v := range t.byID {
			if strings.HasPrefix(k, id) {
				found = v
				n++
			}
		}
	}
	switch n {
	case 1:
		return found, nil
	case 0:
		return none, fmt.Errorf("%s %q: %w", t.kind, id, fault.NotFound)
	}
	return none, fmt.Errorf("%s %q: %d IDs begin so: %w", t.kind, id, n, fault.Invalid)
}

// podName is what two pods may not both have.
func podName(c *PodConfig) string {
	return strings.Join([]string{c.Owner, c.Name, c.Namespace, c.UID, fmt.Sprint(c.Attempt)}, "_")
}

// containerName is what two containers may not both have.
func containerName(podID string, c *ContainerConfig) string {
	return fmt.Sprintf("%s_%s_%d", podID, c.Name, c.Attempt)
}
