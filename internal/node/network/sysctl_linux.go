package network

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// sysctls are the node-wide settings that pods need.
var sysctls = map[string]string{
	"net/ipv4/ip_forward": "1",
	// Pods on one bridge reach each other through the node, and the node would
	// tell them of the shorter way, past policy and address translation. The
	// kernel asks for both this and the link's own to be off.
	"net/ipv4/conf/all/send_redirects": "0",
	// A gateway that makes way for its successor, both listening on one port,
	// leaves it the connections that nobody has accepted yet. Since Linux 5.14.
	"net/ipv4/tcp_migrate_req": "1",
}

// bridgeSysctls are those of the bridge; they end with it.
var bridgeSysctls = map[string]string{
	"net/ipv4/conf/%s/send_redirects": "0",
	"net/ipv4/conf/%s/route_localnet": "1", // host ports at 127.0.0.1
	"net/ipv6/conf/%s/disable_ipv6":   "1",
}

// savedSysctls is what settings were before, until which reboot.
type savedSysctls struct {
	Boot    string            `json:"boot"`
	Values  map[string]string `json:"values"`
	Bridges []string          `json:"bridges"` // of others, at that time
}

// setSysctls changes the settings of the calling thread's namespace. What they
// were is written down first, with the bridges that others have.
func setSysctls(cfg Config, others []string) error {
	saved, err := readSysctls(cfg)
	if err != nil {
		return err
	}
	fresh := false
	for name, want := range sysctls {
		old, err := readSysctl(name)
		if errors.Is(err, os.ErrNotExist) {
			continue // an older kernel
		}
		if err != nil {
			return err
		}
		if _, known := saved.Values[name]; old != want && !known {
			saved.Values[name], saved.Bridges, fresh = old, others, true
		}
	}
	if fresh {
		data, err := json.Marshal(saved)
		if err != nil {
			return fmt.Errorf("encode sysctls: %w", err)
		}
		if err := writeFile(cfg.sysctlFile(), data); err != nil {
			return fmt.Errorf("write down sysctls: %w", err)
		}
	}
	for name, want := range sysctls {
		if err := setSysctl(name, want); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	for name, want := range bridgeSysctls {
		// A kernel without IPv6 has no setting to turn it off.
		if err := setSysctl(fmt.Sprintf(name, cfg.Bridge), want); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

// restoreSysctls undoes setSysctls in the calling thread's namespace. A value
// that somebody has changed since is left, and so are all when somebody has made
// a bridge since: he found forwarding on, and his containers would lose it.
func restoreSysctls(cfg Config, others []string) (relying []string, err error) {
	saved, err := readSysctls(cfg)
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, bridge := range others {
		if !slices.Contains(saved.Bridges, bridge) && len(saved.Values) > 0 {
			relying = append(relying, bridge)
		}
	}
	if len(relying) > 0 {
		saved.Values = nil
	}
	for name, old := range saved.Values {
		is, err := readSysctl(name)
		if err == nil && is == sysctls[name] {
			err = setSysctl(name, old)
		}
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return relying, err
	}
	if err := os.Remove(cfg.sysctlFile()); err != nil && !os.IsNotExist(err) {
		return relying, err
	}
	return relying, nil
}

func readSysctl(name string) (string, error) {
	data, err := os.ReadFile(sysctlPath(name))
	if err != nil {
		return "", fmt.Errorf("read sysctl: %w", err)
	}
	return strings.TrimSpace(string(data)), nil
}

func setSysctl(name, value string) error {
	// Some writes do work even when they change nothing.
	if is, err := readSysctl(name); err == nil && is == value {
		return nil
	}
	// Opened without O_TRUNC or O_CREATE: this is a setting, not a file.
	f, err := os.OpenFile(sysctlPath(name), os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("set sysctl: %w", err)
	}
	_, err = f.WriteString(value)
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("set sysctl %s to %s: %w", strings.ReplaceAll(name, "/", "."), value, err)
	}
	return nil
}

// readSysctls returns what was written down since the machine booted; a reboot
// has restored everything by itself.
func readSysctls(cfg Config) (savedSysctls, error) {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return savedSysctls{}, fmt.Errorf("read boot ID: %w", err)
	}
	none := savedSysctls{Boot: strings.TrimSpace(string(boot)), Values: map[string]string{}}
	data, err := os.ReadFile(cfg.sysctlFile())
	if os.IsNotExist(err) {
		return none, nil
	}
	if err != nil {
		return savedSysctls{}, fmt.Errorf("read sysctls written down: %w", err)
	}
	var saved savedSysctls
	if json.Unmarshal(data, &saved) != nil || saved.Boot != none.Boot || saved.Values == nil {
		return none, nil
	}
	return saved, nil
}

func sysctlPath(name string) string { return filepath.Join("/proc/sys", name) }
