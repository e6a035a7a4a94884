package network

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// tuneAsAsked sets a pod's own sysctls in its namespace.
func tuneAsAsked(path string, asked map[string]string) error {
	if len(asked) == 0 {
		return nil
	}
	return onOwnThread(func() error {
		if err := enterNetNS(path); err != nil {
			return err
		}
		for _, key := range slices.Sorted(maps.Keys(asked)) {
			if err := setAsked(key, asked[key]); err != nil {
				return err
			}
		}
		return nil
	})
}

func setAsked(key, value string) error {
	// A key is written with dots or with slashes; then dots belong to names.
	name := key
	if !strings.Contains(key, "/") {
		name = strings.ReplaceAll(key, ".", "/")
	}
	if !strings.HasPrefix(name, "net/") || slices.Contains(strings.Split(name, "/"), "..") {
		return fmt.Errorf("sysctl %s: it is not the pod's own: %w", key, fault.Invalid)
	}
	err := setSysctl(name, value)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("sysctl %s: this kernel has none of that name in a pod's network: %w", key, fault.Invalid)
	}
	if err != nil {
		return fmt.Errorf("sysctl %s: %w: %w", key, fault.Invalid, err)
	}
	return nil
}
