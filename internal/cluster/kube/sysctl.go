package kube

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// kubeletSysctls are what the kubelet sets for the whole machine when it starts.
func kubeletSysctls() []string {
	return []string{
		"vm/overcommit_memory", "vm/panic_on_oom",
		"kernel/panic", "kernel/panic_on_oops",
		"kernel/keys/root_maxkeys", "kernel/keys/root_maxbytes",
	}
}

// saveSysctls writes down what the machine's settings were, unless an earlier
// start of the same cluster has done so.
func saveSysctls(path string) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	old := map[string]string{}
	for _, name := range kubeletSysctls() {
		value, err := os.ReadFile(filepath.Join("/proc/sys", name))
		if err != nil {
			continue // not on this kernel
		}
		old[name] = string(bytes.TrimSpace(value))
	}
	b, err := json.Marshal(old)
	if err != nil {
		return err
	}
	return writeFile(path, b)
}

// restoreSysctls puts back what saveSysctls wrote down.
func restoreSysctls(path string) error {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var old map[string]string
	if err := json.Unmarshal(b, &old); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	var errs []error
	for _, name := range kubeletSysctls() {
		value, ok := old[name]
		if !ok {
			continue
		}
		file := filepath.Join("/proc/sys", name)
		if now, err := os.ReadFile(file); err == nil && string(bytes.TrimSpace(now)) == value {
			continue
		}
		errs = append(errs, os.WriteFile(file, []byte(value), 0o644))
	}
	return errors.Join(append(errs, os.Remove(path))...)
}
