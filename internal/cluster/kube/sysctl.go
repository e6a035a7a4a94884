package kube

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// procSys is where the kernel's settings are files.
const procSys = "/proc/sys"

// kubeletSysctls are what the kubelet sets for the whole machine when it starts,
// and to what.
func kubeletSysctls() map[string]string {
	return map[string]string{
		"vm/overcommit_memory":      "1",
		"vm/panic_on_oom":           "0",
		"kernel/panic":              "10",
		"kernel/panic_on_oops":      "1",
		"kernel/keys/root_maxkeys":  "1000000",
		"kernel/keys/root_maxbytes": "25000000",
	}
}

// checkSysctls looks whether the kubelet can set what it wants: upstream ends
// the whole process when it cannot.
func checkSysctls() error {
	for name, want := range kubeletSysctls() {
		path := filepath.Join(procSys, name)
		if now, err := os.ReadFile(path); err == nil && string(bytes.TrimSpace(now)) == want {
			continue
		}
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return fmt.Errorf("kernel setting %s cannot be set to %s from here (%w): set it on the host: %w",
				strings.ReplaceAll(name, "/", "."), want, err, fault.Precondition)
		}
		f.Close()
	}
	return nil
}

// saveSysctls writes down what the machine's settings were, unless an earlier
// start of the same cluster has done so.
func saveSysctls(root, path string) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	old := map[string]string{}
	for name := range kubeletSysctls() {
		value, err := os.ReadFile(filepath.Join(root, name))
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
func restoreSysctls(root, path string) error {
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
	for name := range kubeletSysctls() {
		value, ok := old[name]
		if !ok {
			continue
		}
		file := filepath.Join(root, name)
		if now, err := os.ReadFile(file); err == nil && string(bytes.TrimSpace(now)) == value {
			continue
		}
		errs = append(errs, os.WriteFile(file, []byte(value), 0o644))
	}
	return errors.Join(append(errs, os.Remove(path))...)
}
