package image

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"go.etcd.io/bbolt"
	bbolterrors "go.etcd.io/bbolt/errors"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// Config holds the settings of a Store. Root is required.
type Config struct {
	Root       string              // where blobs and names live
	Platform   ocispec.Platform    // which images to choose from an index; zero is the machine's
	Registries map[string]Registry // by host as in image names; "*" for all others
	Parallel   int                 // blobs to move at once for one image; zero is 4
	Keep       time.Duration       // how long an upload that got no name stays; zero is an hour
	RetryWait  time.Duration       // before the second attempt, doubled for each further one; zero is 300 ms
	Attempts   int                 // in a row without progress; zero is 5
	Stall      time.Duration       // how long a registry may be silent; zero is 30 s
}

// Store is the image store of a node.
//
// Locks: collect before Names.mu before Store.mu.
type Store struct {
	cfg   Config
	log   *slog.Logger
	disk  disk
	db    *bbolt.DB
	blobs *Blobs

	collect sync.RWMutex // held for reading while names are set, for writing while blobs are collected
	holds   holds
	flights flights
	hosts   hosts

	mu     sync.Mutex
	owners map[string]*Names
	whole  map[digest.Digest]Image // what a target resolves to, without names; it never changes
}

const (
	metaBucket = "meta"
	// format is raised when an older program could not read the store any more.
	format = "1"
)

// Open opens the store at cfg.Root and makes it if need be. One process has it
// at a time.
func Open(cfg Config, log *slog.Logger) (*Store, error) { return open(cfg, host{}, log) }

func open(cfg Config, disk disk, log *slog.Logger) (*Store, error) {
	if cfg.Root == "" {
		return nil, fmt.Errorf("image store: Root is not set: %w", fault.Invalid)
	}
	if cfg.Platform.OS == "" {
		cfg.Platform = platforms.DefaultSpec()
	}
	cfg.Parallel = orElse(cfg.Parallel, 4)
	cfg.Keep = orElse(cfg.Keep, time.Hour)
	cfg.RetryWait = orElse(cfg.RetryWait, 300*time.Millisecond)
	cfg.Attempts = orElse(cfg.Attempts, 5)
	cfg.Stall = orElse(cfg.Stall, 30*time.Second)
	if err := os.MkdirAll(cfg.Root, 0o700); err != nil {
		return nil, diskError(cfg.Root, fmt.Errorf("image store: %w", err))
	}
	s := &Store{cfg: cfg, log: log, disk: disk, owners: map[string]*Names{}, whole: map[digest.Digest]Image{}}
	var err error
	if s.hosts, err = newHosts(cfg.Registries, cfg.Stall); err != nil {
		return nil, fmt.Errorf("image store: %w", err)
	}
	if s.db, err = openDB(cfg.Root); err != nil {
		return nil, err
	}
	if s.blobs, err = openBlobs(cfg.Root, cfg.Keep, disk); err != nil {
		return nil, errors.Join(fmt.Errorf("image store: %w", err), s.db.Close())
	}
	if err := s.loadNames(); err != nil {
		return nil, errors.Join(fmt.Errorf("image store %s: %w", cfg.Root, err), s.db.Close())
	}
	return s, nil
}

// openDB opens the database of names, or says who has it or why it cannot.
func openDB(root string) (*bbolt.DB, error) {
	path := filepath.Join(root, "names.db")
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: 500 * time.Millisecond})
	if errors.Is(err, bbolterrors.ErrTimeout) {
		return nil, fmt.Errorf("image store %s is open in another process: stop that one first: %w", root, fault.Precondition)
	}
	if err != nil {
		return nil, diskError(root, fmt.Errorf("image store: open %s: %w", path, err))
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		meta, err := tx.CreateBucketIfNotExists([]byte(metaBucket))
		if err != nil {
			return err
		}
		found := meta.Get([]byte("format"))
		if found == nil {
			return meta.Put([]byte("format"), []byte(format))
		}
		if string(found) != format {
			return fmt.Errorf("it has format %s and this program knows format %s, use the newer program: %w", found, format, fault.Precondition)
		}
		return nil
	})
	if err != nil {
		return nil, errors.Join(diskError(root, fmt.Errorf("image store %s: %w", root, err)), db.Close())
	}
	return db, nil
}

// Close ends the use of the store. Pulls and pushes must have returned.
func (s *Store) Close() error {
	s.hosts.close()
	return s.db.Close()
}

// Blobs returns the blobs, for those who serve them to others.
func (s *Store) Blobs() *Blobs { return s.blobs }

// Platform is what images are chosen for.
func (s *Store) Platform() ocispec.Platform { return s.cfg.Platform }

// Usage tells how much the blobs and uploads hold on disk.
func (s *Store) Usage(ctx context.Context) (bytes, inodes uint64, err error) {
	for _, dir := range []string{s.blobs.dir, s.blobs.uploads} {
		err = filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil // deleted meanwhile
			}
			if err != nil {
				return err
			}
			info, err := entry.Info()
			if err != nil {
				return nil
			}
			inodes++
			if stat, ok := info.Sys().(*syscall.Stat_t); ok {
				bytes += uint64(stat.Blocks) * 512
			}
			return ctx.Err()
		})
		if err != nil {
			return 0, 0, fmt.Errorf("image usage: %w", err)
		}
	}
	return bytes, inodes, nil
}

func orElse[T comparable](v, other T) T {
	var zero T
	if v == zero {
		return other
	}
	return v
}
