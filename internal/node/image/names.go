package image

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"go.etcd.io/bbolt"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// The owners of names.
const (
	EngineNames   = "engine"   // full names, see ParseName
	RegistryNames = "registry" // whatever the registry calls its manifests
)

// A Name leads to a manifest or an index.
type Name struct {
	Name   string             `json:"-"`
	Target ocispec.Descriptor `json:"target"`
	Pinned bool               `json:"pinned,omitempty"`
}

// Names are the names of one owner. They are the roots of collection: while a
// name leads to a blob, directly or not, the blob stays.
type Names struct {
	store *Store
	owner string

	mu    sync.RWMutex
	known map[string]Name // what the database holds; reads come from here
}

// Names returns the names of an owner.
func (s *Store) Names(owner string) *Names {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.owners[owner]
	if n == nil {
		n = &Names{store: s, owner: owner, known: map[string]Name{}}
		s.owners[owner] = n
	}
	return n
}

// Set makes a name lead to target. Everything target leads to must be in the
// store already, but for the platforms of an index that nobody wanted here; so
// whatever has a name is whole, also after a power cut.
func (n *Names) Set(name string, target ocispec.Descriptor) error {
	return n.put(Name{Name: name, Target: target})
}

// put sets names, all or none.
func (n *Names) put(names ...Name) error {
	// Collection must not run between the check and the entry.
	n.store.collect.RLock()
	defer n.store.collect.RUnlock()
	for _, name := range names {
		if err := n.store.complete(name.Target); err != nil {
			return fmt.Errorf("name %s: %w", name.Name, err)
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, name := range names {
		old := n.known[name.Name]
		if old.Pinned && !name.Pinned && old.Target.Digest != name.Target.Digest {
			return fmt.Errorf("name %s belongs to an image that the program carries: choose another name: %w", name.Name, fault.Precondition)
		}
	}
	err := n.store.disk.Update(n.store.db, func(tx *bbolt.Tx) error {
		bucket, err := tx.CreateBucketIfNotExists([]byte(n.owner))
		if err != nil {
			return err
		}
		for _, name := range names {
			data, err := json.Marshal(name)
			if err != nil {
				return err
			}
			if err := bucket.Put([]byte(name.Name), data); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return diskError(n.store.cfg.Root, fmt.Errorf("write names: %w", err))
	}
	for _, name := range names {
		n.known[name.Name] = name
	}
	return nil
}

// Get returns what a name leads to.
func (n *Names) Get(name string) (ocispec.Descriptor, error) {
	n.mu.RLock()
	defer n.mu.RUnlock()
	known, ok := n.known[name]
	if !ok {
		return ocispec.Descriptor{}, fmt.Errorf("name %s: %w", name, fault.NotFound)
	}
	return known.Target, nil
}

// leadTo tells whether one of the names leads to the blob.
func (n *Names) leadTo(d digest.Digest) bool {
	n.mu.RLock()
	defer n.mu.RUnlock()
	for _, name := range n.known {
		if name.Target.Digest == d {
			return true
		}
	}
	return false
}

// Delete takes names away. Deleting an unknown name is not an error.
func (n *Names) Delete(names ...string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	err := n.store.disk.Update(n.store.db, func(tx *bbolt.Tx) error {
		bucket := tx.Bucket([]byte(n.owner))
		if bucket == nil {
			return nil
		}
		for _, name := range names {
			if err := bucket.Delete([]byte(name)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return diskError(n.store.cfg.Root, fmt.Errorf("delete names: %w", err))
	}
	for _, name := range names {
		delete(n.known, name)
	}
	return nil
}

// List returns the names that begin with prefix, sorted.
func (n *Names) List(prefix string) []Name {
	n.mu.RLock()
	defer n.mu.RUnlock()
	var names []Name
	for _, name := range n.known {
		if strings.HasPrefix(name.Name, prefix) {
			names = append(names, name)
		}
	}
	slices.SortFunc(names, func(a, b Name) int { return strings.Compare(a.Name, b.Name) })
	return names
}

// load reads the names of every owner from the database.
func (s *Store) loadNames() error {
	return s.db.View(func(tx *bbolt.Tx) error {
		return tx.ForEach(func(owner []byte, bucket *bbolt.Bucket) error {
			if string(owner) == metaBucket {
				return nil
			}
			names := s.Names(string(owner))
			return bucket.ForEach(func(key, value []byte) error {
				name := Name{Name: string(key)}
				if err := json.Unmarshal(value, &name); err != nil {
					return fmt.Errorf("name %s of %s: %w: %w", key, owner, err, fault.Corrupt)
				}
				names.known[name.Name] = name
				return nil
			})
		})
	})
}
