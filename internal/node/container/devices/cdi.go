package devices

import (
	"errors"
	"fmt"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"tags.cncf.io/container-device-interface/pkg/cdi"
	"tags.cncf.io/container-device-interface/pkg/parser"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// Config holds the settings of a Registry.
type Config struct {
	Dirs []string // where CDI specifications are; empty is /etc/cdi and /var/run/cdi
}

// Registry knows the devices that vendors describe with CDI, such as
// "nvidia.com/gpu=0". It is safe for use by many goroutines at once.
type Registry struct {
	cache *cdi.Cache
	dirs  []string
}

// OpenRegistry returns the registry of some directories. They need not exist.
func OpenRegistry(cfg Config) (*Registry, error) {
	dirs := cfg.Dirs
	if len(dirs) == 0 {
		dirs = cdi.DefaultSpecDirs
	}
	// Specifications are read when a container asks for a device: that is rare, and
	// a watcher would be a goroutine for nothing on machines without any.
	r := &Registry{dirs: dirs}
	err := guard(func() (err error) {
		r.cache, err = cdi.NewCache(cdi.WithSpecDirs(dirs...), cdi.WithAutoRefresh(false))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("cdi specifications in %s: %w", strings.Join(dirs, ", "), err)
	}
	return r, nil
}

// guard calls the library. It panics on a vendor or class of one letter (1.1.0),
// which a file or a request may well have.
func guard(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%v: %w", p, fault.Corrupt)
		}
	}()
	return f()
}

// Inject applies what the CDI specifications say about the named devices to a
// container's: device nodes, mounts, environment, hooks. After an error the
// specification is not to be used.
func (r *Registry) Inject(spec *specs.Spec, names ...string) error {
	if len(names) == 0 {
		return nil
	}
	for _, name := range names {
		err := guard(func() error { _, _, _, err := parser.ParseQualifiedName(name); return err })
		if err != nil {
			return fmt.Errorf("cdi device %q: %w: %w", name, fault.Invalid, err)
		}
	}
	var unknown []string
	err := guard(func() (err error) {
		// A broken file matters only if it is missed; below it is named then.
		_ = r.cache.Refresh()
		unknown, err = r.cache.InjectDevices(spec, names...)
		return err
	})
	switch {
	case len(unknown) > 0:
		return errors.Join(fmt.Errorf("cdi device %s: in none of the specifications in %s: %w",
			strings.Join(unknown, ", "), strings.Join(r.dirs, ", "), fault.NotFound), r.broken())
	case err != nil:
		return fmt.Errorf("cdi device %s: %w", strings.Join(names, ", "), err)
	}
	return nil
}

// broken tells which specifications could not be read.
func (r *Registry) broken() error {
	var errs []error
	for path, causes := range r.cache.GetErrors() {
		errs = append(errs, fmt.Errorf("cdi specification %s: %w", path, errors.Join(causes...)))
	}
	return errors.Join(errs...)
}
